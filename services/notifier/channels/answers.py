"""The answers of services over HTTP: what they share, whichever service sent them."""

import math
from collections.abc import Mapping
from typing import Final

from firsthour.runtime.http.client import HttpAnswer
from services.notifier.channels.base import RETRY_AFTER_SECONDS_MAX, TryAgain

TEMPORARY: Final = frozenset({408, 425, 429})
"""Statuses below 500 that ask for another try."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return `retry-after` in seconds, from 0 to 300; None if it is absent or not a number."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX) if math.isfinite(seconds) else None


def temporary(service: str, answer: HttpAnswer) -> TryAgain | None:
    """Return the outcome of a temporary refusal; None: the answer is no temporary refusal."""
    if answer.status == 429:
        return TryAgain(retry_after(answer.headers), f"{service}: rate limit reached")
    if answer.status >= 500 or answer.status in TEMPORARY:
        return TryAgain(retry_after(answer.headers), f"{service} answered {answer.status}")
    return None
