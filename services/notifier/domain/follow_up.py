"""The pages after the ladder: reminders of a lead without a touch, and the notice of a missed promise."""

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

import msgspec

from schemas.agreement.response import Response

_CACHED: Final = 64  # few are in use at a time
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class FollowUp:
    """The pages after the ladder. `every`: the spacing of the reminders."""

    every: timedelta
    by: tuple[str, ...]  # channels of the reminders
    missed_by: tuple[str, ...]  # channels of the notice of a missed promise


def follow_up_of(response: Response) -> FollowUp:
    """Return the pages after the ladder by this agreement."""
    return FollowUp(response.remind.every, response.remind.by, response.missed.by)


@lru_cache(_CACHED)
def follow_up_to_json(follow_up: FollowUp) -> str:
    """Return the stored form."""
    return msgspec.json.encode([follow_up.every // _MICROSECOND, follow_up.by, follow_up.missed_by]).decode()


@lru_cache(_CACHED)
def follow_up_from_json(text: str) -> FollowUp:
    """Return what `follow_up_to_json` stored."""
    every, by, missed_by = msgspec.json.decode(text, type=tuple[int, tuple[str, ...], tuple[str, ...]])
    return FollowUp(every * _MICROSECOND, by, missed_by)
