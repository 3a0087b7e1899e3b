"""The stored form of a record in the log of the embedded profile and in the history: its JSON, compressed with a dictionary.

A record of a few hundred bytes is mostly what all records have in common, so it becomes a sixth as large. `records.zdict` holds what
they have in common, and is made by `python -m tests.proof.record_dictionary`. It never changes: records that were packed with it
could not be read again. A better one gets another mark.
"""

import threading
from pathlib import Path
from typing import Final

import zstandard

MARK: Final = b"\x02"
"""The first byte of a packed record. JSON begins with another one, so a record that is not packed is told apart."""
LEVEL: Final = 3  # level 6 makes records of this size a twentieth smaller, in four times the time
DICTIONARY: Final = Path(__file__).with_name("records.zdict").read_bytes()

_DATA: Final = zstandard.ZstdCompressionDict(DICTIONARY)
_FORM: Final = zstandard.ZstdCompressionParameters.from_level(
    LEVEL,
    format=zstandard.FORMAT_ZSTD1_MAGICLESS,  # four bytes less; the mark says what it is
    write_dict_id=False,
    source_size=1_024,
    dict_size=len(DICTIONARY),
)
_DATA.precompute_compress(compression_params=_FORM)


class _Codec(threading.local):
    """The compressor and the decompressor of one thread: the library allows neither in two threads at once."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(dict_data=_DATA, compression_params=_FORM).compress
        self.unpack = zstandard.ZstdDecompressor(dict_data=_DATA, format=zstandard.FORMAT_ZSTD1_MAGICLESS).decompress


_codec: Final = _Codec()


def packed(body: bytes) -> bytes:
    """Return the stored form of a record."""
    return MARK + _codec.pack(body)


def unpacked(stored: bytes) -> bytes:
    """Return a record from its stored form.

    Other bytes are returned as they are: a record that is not packed, or a damaged one, which its decoder rejects.
    """
    body = bytes(stored)
    if not body.startswith(MARK):
        return body
    try:
        return _codec.unpack(memoryview(body)[len(MARK) :])
    except (zstandard.ZstdError, MemoryError):  # a damaged record can name any size
        return body
