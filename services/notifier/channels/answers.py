"""The answers of services over HTTP: what they share, whichever service sent them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from firsthour.runtime.http.client import HttpAnswer
from services.notifier.channels.base import RETRY_AFTER_SECONDS_MAX, TryAgain

TEMPORARY: Final = frozenset({408, 425, 429})
"""Statuses below 500 that ask for another try."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `retry-after` in seconds, from 0 to 300; None if it is absent or unreadable.

    It is a number, or a date, which is compared with the service's own clock in `date`.
    """
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        until, now = _moment(value), _moment(headers.get("date", ""))
        if until is None or now is None:
            return None
        seconds = (until - now).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX) if math.isfinite(seconds) else None


def _moment(text: str) -> datetime | None:
    """Return the date of a header; None: it is none."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def temporary(service: str, answer: HttpAnswer) -> TryAgain | None:
    """Return the outcome of a temporary refusal; None: the answer is no temporary refusal."""
    if answer.status == 429:
        return TryAgain(retry_after(answer.headers), f"{service}: rate limit reached")
    if answer.status >= 500 or answer.status in TEMPORARY:
        return TryAgain(retry_after(answer.headers), f"{service} answered {answer.status}")
    return None
