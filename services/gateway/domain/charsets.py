"""The charsets that are decoded, by their names in the WHATWG Encoding Standard, which browsers and plugins use.

No other name reaches a decoder: some codecs of Python (`idna`, `unicode_escape`, `zip`) are not charsets.
"""

from collections.abc import Mapping
from typing import Final

UTF_8: Final = "utf-8"

_LABELS: Final[Mapping[str, str]] = {
    UTF_8: "utf-8 utf8 unicode-1-1-utf-8 x-unicode20utf8",
    # Browsers decode all of these as windows-1252, a superset of them.
    "cp1252": "windows-1252 cp1252 x-cp1252 iso-8859-1 iso8859-1 iso88591 iso_8859-1 latin1 latin-1 l1 us-ascii ascii",
    "cp1250": "windows-1250 cp1250 x-cp1250",
    "cp1251": "windows-1251 cp1251 x-cp1251",
    "cp1253": "windows-1253 cp1253 x-cp1253",
    "cp1254": "windows-1254 cp1254 x-cp1254 iso-8859-9 iso8859-9 iso_8859-9 latin5 l5",
    "cp1255": "windows-1255 cp1255 x-cp1255",
    "cp1256": "windows-1256 cp1256 x-cp1256",
    "cp1257": "windows-1257 cp1257 x-cp1257",
    "cp1258": "windows-1258 cp1258 x-cp1258",
    **{f"iso8859-{n}": f"iso-8859-{n} iso8859-{n} iso_8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    "koi8-r": "koi8-r koi8 koi8_r",
    "koi8-u": "koi8-u koi8-ru",
    "mac-roman": "macintosh mac x-mac-roman",
    "cp874": "windows-874 tis-620 iso-8859-11",
    "cp932": "shift_jis shift-jis sjis ms_kanji windows-31j x-sjis",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "gb18030": "gb18030 gbk gb2312 x-gbk gb_2312-80",
    "big5hkscs": "big5 big5-hkscs x-x-big5",
    "cp949": "euc-kr ks_c_5601-1987 korean windows-949",
}
_CODECS: Final[Mapping[str, str]] = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_LABEL_MAX: Final = 40  # characters


def codec_of(label: bytes) -> str | None:
    """Return the codec of a declared charset. None: the charset is unknown."""
    return _CODECS.get(label[:_LABEL_MAX].decode("latin-1").strip(" '\"").lower())


def decode(text: bytes, codec: str) -> str:
    """Decode `text`. Bytes undefined in a legacy charset become U+FFFD. Raises `UnicodeDecodeError` for UTF-8."""
    return text.decode() if codec == UTF_8 else text.decode(codec, "replace")
