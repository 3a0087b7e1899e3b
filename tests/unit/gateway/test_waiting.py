"""Requests that wait for the effect of their event: hostile times, databases that fail or hang, many at once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.unit import StorageError
from services.gateway import replies, waiting
from services.gateway.domain.mapping import parse_event
from services.gateway.intake.outcome import Accepted
from services.gateway.replies import Reply
from services.gateway.waiting import SECONDS_MAX, WAITERS_MAX, LeadLookups, Waiters, seconds_of, seconds_of_vendor

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
SENT: dict[str, Any] = {
    "id": "1",
    "type": "form.submitted",
    "email": "ann@acme.example",
    "data": {"form": "demo-request"},
}
EVENT = parse_event(SENT, origin="crm", scope="crm\n", now=NOW)
ACCEPTED = Accepted("crm", ["1"], [EVENT])
REPLY = replies.accepted(["1"])


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (b"", None),
        (b"wait=", None),
        (b"x=wait", None),
        (b"xwait=5", None),
        (b"wait=5", 5.0),
        (b"wait=.5", 0.5),
        (b"wait=5s", 5.0),
        (b"wait=0", 0.0),
        (b"wait=9999999999", SECONDS_MAX),
        (b"wait=1&wait=2", 2.0),
    ],
)
def test_seconds_are_read_from_the_query(query: bytes, seconds: float | None) -> None:
    assert seconds_of(b"/v1/events?" + query) == seconds


@pytest.mark.parametrize(
    "query",
    [
        *(
            b"wait=" + value
            for value in (b"soon", b"-1", b"+5", b"1e3", b"0x1", b"nan", b"inf", b"5ss", b".", b"1.2.3")
        ),
        *(b"wait=" + value for value in (b"%00", b"%ff", "\u0665".encode(), b"%C2%B2", b"1_0", b"9" * 60_000)),
        b"a=1&" * 10_000 + b"wait=5",
    ],
    ids=lambda query: query[:20].decode("latin-1"),
)
def test_time_that_cannot_be_read_is_refused_and_a_vendor_does_not_wait(query: bytes) -> None:
    with pytest.raises(Problem) as refused:
        seconds_of(b"/v1/events?" + query)
    assert (refused.value.status, "wait=5" in refused.value.detail) == (422, True)
    assert len(refused.value.detail) < 200
    assert seconds_of_vendor(b"/hooks/x?" + query) == 0.0


@given(st.binary(max_size=200))
def test_any_query_is_a_bounded_time_or_refused(query: bytes) -> None:
    assert 0.0 <= seconds_of_vendor(b"/hooks/x?wait=" + query) <= SECONDS_MAX


def waiters(read: Callable[[], Any]) -> Waiters:
    """Return waiters whose database does this at each look."""

    async def reads(work: Any) -> Any:
        result = read()
        return await result if asyncio.iscoroutine(result) else result

    return Waiters(cast(Reader, reads), LeadLookups(lambda connection, email: None, lambda connection, id: None))


def fails(failure: Exception) -> Callable[[], Any]:
    def read() -> Any:
        raise failure

    return read


@pytest.mark.parametrize("failure", [StorageError("away"), RuntimeError("broken"), OSError("reset")], ids=type)
async def test_failed_look_is_answered_as_without_waiting(failure: Exception) -> None:
    assert await waiters(fails(failure)).answer(ACCEPTED, REPLY, 5.0) is REPLY


async def test_database_that_hangs_delays_no_answer_beyond_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.0)
    never = asyncio.Event()
    waiting_requests = waiters(never.wait)
    async with asyncio.timeout(5):
        assert await waiting_requests.answer(ACCEPTED, REPLY, 0.0) is REPLY
    assert len(waiting_requests._looking) == 1  # it keeps its place, so that hanging looks are bounded too
    never.set()


async def test_more_requests_than_may_wait_are_answered_at_once() -> None:
    never = asyncio.Event()
    crowd = waiters(never.wait)
    waits = [asyncio.create_task(crowd.answer(ACCEPTED, REPLY, 10.0)) for _ in range(WAITERS_MAX)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await crowd.answer(ACCEPTED, REPLY, 10.0) is REPLY
    for one in waits:
        one.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(crowd._looking) == 0  # a client that leaves gives its place back


@pytest.mark.parametrize(
    ("accepted", "reply"),
    [
        (Accepted("crm", ["1", "2"], [EVENT, EVENT]), REPLY),
        (Accepted("crm", []), REPLY),
        (ACCEPTED, Reply(202, b"{}", replayed=True)),
        (ACCEPTED, Reply(204)),
    ],
    ids=["two events", "no event", "replayed", "another answer"],
)
async def test_request_without_one_new_event_does_not_wait(accepted: Accepted, reply: Reply) -> None:
    assert await waiters(fails(AssertionError())).answer(accepted, reply, 10.0) is reply
