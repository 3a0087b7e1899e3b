"""API keys in memory: overlapping reads, the age of the keys, the keys of reps."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from firsthour.runtime.http.auth import Keys
from firsthour.runtime.http.key_store import Key, digest
from firsthour.runtime.http.problem import Problem
from tests.hand_clock import HandClock


class DelayedReader:
    """A reader that reads the keys at once, and returns them when the test sets the result of the read."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.reads: list[asyncio.Future[None]] = []

    async def __call__(self, work: Callable[[Connection], Any], /) -> Any:
        keys = [*self.keys]
        self.reads.append(asyncio.get_running_loop().create_future())
        await self.reads[-1]
        return keys


async def test_earlier_read_that_ends_later_does_not_drop_a_new_key() -> None:
    clock, reader = HandClock(), DelayedReader()
    keys = Keys(clock)
    first = asyncio.create_task(keys.refresh(reader))
    await asyncio.sleep(0)
    reader.keys = [Key("k", "form", "ingest", None, digest("fh_k"), clock.now, None, None, None)]
    second = asyncio.create_task(keys.refresh(reader))
    await asyncio.sleep(0)
    while not (first.done() and second.done()):
        for read in reversed(reader.reads):  # the last read ends first
            if not read.done():
                read.set_result(None)
                break
        await asyncio.sleep(0)
    assert keys.find("Bearer fh_k") is not None


# --- age and owner of a key ----------------------------------------------------------------------------------------


def one_key(clock: HandClock, **fields: Any) -> Key:
    defaults = {
        "id": "k",
        "name": "form",
        "role": "sales",
        "rep": None,
        "hash": digest("fh_k"),
        "created_at": clock.now,
    }
    return Key(**{**defaults, "expires_at": None, "revoked_at": None, "used_at": None, **fields})


def test_stored_keys_are_refused_when_their_last_read_is_too_old() -> None:
    clock = HandClock()
    keys = Keys(clock, admin_key="given", local_token="local", age_seconds_max=3_600)
    keys.replace([one_key(clock)])
    assert keys.warnings() == ()
    clock.now += timedelta(minutes=59)
    assert keys.find("Bearer fh_k") is not None
    assert "revoked since is still accepted" in keys.warnings()[0]
    clock.now += timedelta(minutes=2)
    with pytest.raises(Problem) as caught:
        keys.find("Bearer fh_k")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "5")
    assert "answered 503" in keys.warnings()[0]
    assert keys.find("Bearer given") is not None
    assert keys.find("Bearer local") is not None
    keys.replace([one_key(clock)])
    assert keys.find("Bearer fh_k") is not None


def test_stored_keys_are_refused_before_their_first_read() -> None:
    keys = Keys(HandClock(), age_seconds_max=3_600)
    with pytest.raises(Problem):
        keys.find("Bearer fh_k")
    assert keys.warnings() == ("stored keys are too old (never read): requests with a key are answered 503",)


def test_key_of_a_rep_is_refused_when_the_rep_is_no_longer_active() -> None:
    clock, team = HandClock(), {"ana"}
    keys = Keys(clock, is_active_rep=team.__contains__)
    keys.replace([one_key(clock, rep="ana"), one_key(clock, id="other", hash=digest("fh_other"))])
    assert keys.find("Bearer fh_k") is not None
    team.clear()
    assert keys.find("Bearer fh_k") is None
    assert keys.find("Bearer fh_other") is not None
