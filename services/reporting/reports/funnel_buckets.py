"""Marks of the parts of a period that cannot be compared with the others: cut by its edges, or with leads that still move on."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.reporting.domain.funnel_tally import FunnelTally, nearest_rank
from services.reporting.reports.funnel_counting import FunnelQuery, bucket_end

COLUMNS: Final = ("partial", "young")


class BucketMarks(NamedTuple):
    """`partial`: the period has only a part of the bucket. `young`: later steps of its leads are still to come."""

    partial: bool
    young: bool


def settling_us(tallies: Sequence[FunnelTally]) -> int:
    """Return how long 9 of 10 leads take for all steps together, in microseconds. Zero: no lead has moved on."""
    steps = len(tallies[0].spans) if tallies else 0
    spans = [nearest_rank([tally.spans[n] for tally in tallies], 9, 10) or 0 for n in range(steps)]
    return max(sum(spans[:-1]), *spans[-1:], 0)  # the last one is that from end to end


def marks_of(query: FunnelQuery, begin: int, now: int, settling: int) -> BucketMarks:
    """Return the marks of the bucket that begins at a time. With `activity`, steps count when they happen: none is to come."""
    end = bucket_end(begin, query.per)
    young = query.basis == "cohort" and min(end, query.end) + settling > now
    return BucketMarks(begin < query.start or end > query.end, young)
