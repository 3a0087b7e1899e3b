"""`python -m tests.proof.record_dictionary FILE.db ...`: makes the dictionary of stored records from those of installations.

Take databases of the embedded profile with invented people, such as that of `make demo` after a few minutes: parts of their
records become part of the product. Each type of record has the same weight, so that seldom ones are learnt too. The dictionary
in use never changes, so the new one is written beside it; it needs another mark in `packing`.
"""

import argparse
import random
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from firsthour.runtime.storage.packing import unpacked

SIZE: Final = 16_384
OF_A_TYPE: Final = 400
"""The most records of one type."""
SEED: Final = 7


def main(arguments: Sequence[str]) -> int:
    """Write the dictionary, and print how many records of how many types it is made from."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.record_dictionary", description=__doc__)
    parser.add_argument("databases", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("records.zdict"))
    options = parser.parse_args(arguments)
    bodies = {body for file in options.databases for body in bodies_of(file)}
    chosen = balanced(bodies)
    options.out.write_bytes(zstandard.train_dictionary(SIZE, chosen).as_bytes())
    print(f"{options.out}: from {len(chosen):,} of {len(bodies):,} records")
    return 0


def bodies_of(file: Path) -> list[bytes]:
    """Return the records of the log of an installation."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return [unpacked(row[0]) for row in connection.execute("SELECT body FROM log")]


def balanced(bodies: Iterable[bytes]) -> list[bytes | bytearray | memoryview]:
    """Return at most `OF_A_TYPE` records of each type, in an order that depends on the records only."""
    by_type: dict[str, list[bytes]] = defaultdict(list)
    for body in sorted(bodies):
        by_type[msgspec.json.decode(body)["type"]].append(body)
    dice = random.Random(SEED)  # a choice of samples, not a secret
    chosen: list[bytes | bytearray | memoryview] = [
        body for _, some in sorted(by_type.items()) for body in dice.sample(some, min(len(some), OF_A_TYPE))
    ]
    dice.shuffle(chosen)
    return chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
