"""Dead letters, tried again or dropped: by the gateway that could not understand them, or the service that failed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import GATEWAY, PUBLISHER, DeadLetter, Summary
from firsthour.runtime.eventlog.failure_reason import failure_reason
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing import worker
from firsthour.runtime.processing.service import Handler, Service
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError, Unit, Units
from schemas.envelope import RECORD_BYTES_MAX, UnknownEventError, decode
from services.gateway import retry as gateway_retry

WAITING = "waiting"


def find(connection: Connection, id: str) -> DeadLetter:
    """One letter. Raises `Problem` 404."""
    found = dead_letters.get(connection, id)
    if found is None:
        raise Problem(404, "Unknown dead letter", f"There is no dead letter {id!r}: `firsthour deadletters list`.")
    return found


def waiting(connection: Connection, id: str) -> DeadLetter:
    """One letter that still waits. Raises `Problem` 404, or 409 when it was dealt with."""
    found = find(connection, id)
    if found.state != WAITING:
        raise Problem(409, "Already resolved", f"This letter was already {found.state}; there is nothing left to do.")
    return found


def summary(letter: DeadLetter | Summary) -> dict[str, Any]:
    """A letter as listed: without its body, which may hold personal data."""
    return {
        "id": letter.id,
        "at": letter.at,
        "consumer": letter.consumer,
        "origin": letter.origin,
        "source": letter.source,
        "content_type": letter.content_type,
        "bytes": letter.bytes if isinstance(letter, Summary) else len(letter.body),
        "error": letter.error,
        "code": letter.code,
        "state": letter.state,
        "tries": letter.tries,
    }


async def retry(units: Units, clock: Clock, services: Sequence[Service], id: str, body: bytes | None) -> dict[str, Any]:
    """Handle a letter again, with a corrected body if one is given. Raises `Problem`; the letter waits on then, and
    says how often it was tried and why it failed last."""
    try:
        return await units.run(lambda unit: _again(unit, services, id, body))
    except StorageError:
        raise
    except Problem as refused:
        if refused.status != 404 and refused.title != "Already resolved":
            await _failed(units, clock, id, refused.detail or refused.title)
        raise
    except Exception as failure:
        await _failed(units, clock, id, failure_reason(failure))
        raise Problem(
            422,
            "Retry failed",
            f"It failed again ({type(failure).__name__}); `firsthour deadletters show {id}` tells why. "
            "Correct the body and retry with it, or drop the letter.",
        ) from failure


async def _failed(units: Units, clock: Clock, id: str, why: str) -> None:
    await units.run(lambda unit: dead_letters.store_outcome(unit.connection, id, WAITING, clock.real(), why))


def _again(unit: Unit, services: Sequence[Service], id: str, body: bytes | None) -> dict[str, Any]:
    letter = waiting(unit.connection, id)
    if letter.consumer == GATEWAY:
        return {"id": id, "state": "retried", "events": gateway_retry.retry(unit, letter, body)}
    given = letter if body is None else replace(letter, body=body)
    try:
        if letter.consumer == PUBLISHER:
            _publish(unit, given)
            return {"id": id, "state": "retried", "events": [letter.source]}
        worker.retry(unit, letter.consumer, _handler(services, letter), given)
    except UnknownEventError as wrong:
        raise Problem(422, "Not an event", f"{wrong}. Send a corrected body, or drop the letter.") from wrong
    return {"id": id, "state": "retried", "events": [letter.source]}


def _publish(unit: Unit, letter: DeadLetter) -> None:
    """Put a record that the broker refused into the outbox again."""
    if len(letter.body) > RECORD_BYTES_MAX:
        raise Problem(413, "", f"The record has {len(letter.body)} bytes; {RECORD_BYTES_MAX} is the most that is sent.")
    known = decode(letter.body)
    topic = letter.origin.partition("/")[0]
    unit.rows.append(Row(topic, known.partitionkey, known.id, letter.body))
    dead_letters.store_outcome(unit.connection, letter.id, "retried", unit.clock.real(), f"sent again to {topic}")


def _handler(services: Sequence[Service], letter: DeadLetter) -> Handler:
    topic = letter.origin.partition("/")[0]
    for service in services:
        if service.name == letter.consumer and topic in service.hears:
            return service.hears[topic]
    raise Problem(
        409,
        "No consumer",
        f"This process has no service {letter.consumer} that reads {topic}; drop the letter.",
    )


def drop(unit: Unit, id: str) -> dict[str, Any]:
    """Give a letter up: its body is erased. Its row stays for a while, so that it can be said what became of it."""
    dead_letters.drop(unit.connection, waiting(unit.connection, id), unit.clock.real())
    return {"id": id, "state": "dropped"}
