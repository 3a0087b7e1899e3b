"""Counts passes through the funnel: which steps they reached, how long each took, and where they stand.

A tally holds the counts of a set of passes for one order of the steps. Tallies of several days add up without a loss: times
are kept in order, and a percentile is found across all of them. Times are microseconds.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Final, Protocol

import msgspec

GOES_ON: Final = ""
"""The end of a pass that has not ended."""
_WORD: Final = "q"  # 64 bits, signed


class CountedPass(Protocol):
    """What is counted of a pass, beside its steps."""

    @property
    def status(self) -> str | None: ...

    @property
    def status_at(self) -> int: ...

    @property
    def ended(self) -> str | None: ...


class Figure(msgspec.Struct, frozen=True, gc=False):
    """The passes that reached a step, by what came next.

    `converted`: reached the next step. `skipped`: passed it and reached a later one. `ended_by`: neither, by the kind of
    the end. `there`: neither, and the pass goes on.
    """

    reached: int
    converted: int
    skipped: int
    ended_by: Mapping[str, int]
    there: int

    @property
    def ended(self) -> int:
        """The passes that ended here."""
        return sum(self.ended_by.values())


class FunnelTally:
    """The counts of some passes. `spans`: for each pair of neighbours, and for the first and the last step."""

    def __init__(self, steps: int) -> None:
        self.counts: Counter[tuple[int, int, str]] = Counter()  # by steps reached, steps counted, and end
        self.spans: list[array[int]] = [array(_WORD) for _ in range(steps)]
        self.standing: dict[str, array[int]] = {}  # since when, by status

    def add(self, times: Sequence[int | None], counted: int, row: CountedPass) -> None:
        """Count a pass.

        Args:
            times: the first time of each step, in the order of the steps. None: not reached.
            counted: the steps that count, as bits: those of the period.
        """
        mask, last, of = 0, None, len(times) - 1
        for n, at in enumerate(times):
            if at is not None:
                mask |= 1 << n
                if last is not None and n and counted >> (n - 1) & 1:
                    self.spans[n - 1].append(max(at - last, 0))
            last = at
        if of > 0 and (first := times[0]) is not None and last is not None and counted & 1:
            self.spans[of].append(max(last - first, 0))
        self.counts[mask, counted & mask, row.ended or GOES_ON] += 1
        if row.status is not None:
            since = self.standing.get(row.status)
            if since is None:
                since = self.standing[row.status] = array(_WORD)
            since.append(row.status_at)

    def sort(self) -> None:
        """Put all times in order. Call it once, after the last pass."""
        self.spans = [array(_WORD, sorted(span)) for span in self.spans]
        self.standing = {status: array(_WORD, sorted(since)) for status, since in self.standing.items()}


class _StoredTally(msgspec.Struct, array_like=True):
    counts: list[tuple[int, int, str, int]]
    spans: list[bytes]
    standing: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_StoredTally]).decode


def pack(tallies: Iterable[FunnelTally]) -> bytes:
    """Return sorted tallies as they are stored."""
    return _encode(
        [
            _StoredTally(
                [(*key, count) for key, count in tally.counts.items()],
                [span.tobytes() for span in tally.spans],
                {status: since.tobytes() for status, since in tally.standing.items()},
            )
            for tally in tallies
        ]
    )


def unpack(body: bytes) -> list[FunnelTally]:
    """Return stored tallies."""
    return [_loaded(stored) for stored in _decode(body)]


def _loaded(stored: _StoredTally) -> FunnelTally:
    tally = FunnelTally(0)
    tally.counts = Counter({(mask, counted, end): count for mask, counted, end, count in stored.counts})
    tally.spans = [array(_WORD, span) for span in stored.spans]
    tally.standing = {status: array(_WORD, since) for status, since in stored.standing.items()}
    return tally


def figures(tallies: Iterable[FunnelTally], steps: int) -> list[Figure]:
    """Return the figure of each step, in the order of the steps."""
    counts: Counter[tuple[int, int, str]] = Counter()
    for tally in tallies:
        counts.update(tally.counts)
    return [_figure(counts, n) for n in range(steps)]


def _figure(counts: Mapping[tuple[int, int, str], int], n: int) -> Figure:
    reached = converted = skipped = there = 0
    ended: Counter[str] = Counter()
    for (mask, counted, end), count in counts.items():
        if not counted >> n & 1:
            continue
        reached += count
        kind = outcome(mask, end, n)
        if kind == "converted":
            converted += count
        elif kind == "skipped":
            skipped += count
        elif kind == "there":
            there += count
        else:
            ended[end] += count
    return Figure(reached, converted, skipped, dict(ended), there)


def outcome(mask: int, end: str, n: int) -> str:
    """Return what came after step `n`, which a pass has reached: converted, skipped, ended or there."""
    later = mask >> (n + 1)
    if later & 1:
        return "converted"
    if later:
        return "skipped"
    return "ended" if end else "there"


def reached(tallies: Iterable[FunnelTally], steps: int) -> list[int]:
    """Return the number of passes that reached each step."""
    counts = [0] * steps
    for mask_counts in (tally.counts for tally in tallies):
        for (_, counted, _), count in mask_counts.items():
            for n in range(steps):
                counts[n] += count * (counted >> n & 1)
    return counts


def nearest_rank(parts: Sequence["array[int]"], part: int, of: int) -> int | None:
    """Return a percentile of all values in some sorted arrays: value number `n * part / of`, rounded up. None: no value."""
    parts = [one for one in parts if one]
    count = sum(map(len, parts))
    if not count:
        return None
    rank = (count * part + of - 1) // of
    if count <= 1_000 or len(parts) == 1:
        return sorted(chain.from_iterable(parts))[rank - 1] if len(parts) > 1 else parts[0][rank - 1]
    low, high = min(one[0] for one in parts), max(one[-1] for one in parts)
    while low < high:
        middle = (low + high) // 2
        if sum(map(bisect_right, parts, repeat(middle))) >= rank:
            high = middle
        else:
            low = middle + 1
    return low
