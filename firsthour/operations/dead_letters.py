"""Retries and drops dead letters: requests that the gateway could not read, and records that a service could not handle."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from firsthour.runtime.clock import Clock
from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letter_statements import OPEN_STATES
from firsthour.runtime.eventlog.dead_letters import GATEWAY, PUBLISHER, DeadLetter, Summary
from firsthour.runtime.eventlog.failure_reason import failure_reason
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing import worker
from firsthour.runtime.processing.service import Handler, Service
from firsthour.runtime.storage.records import Row
from firsthour.runtime.storage.unit import StorageError, Unit, Units
from schemas.envelope import RECORD_BYTES_MAX, UnknownEventError, decode
from services.gateway import retry as gateway_retry


def find(connection: Connection, id: str) -> DeadLetter:
    """Return a dead letter. Raises `Problem` 404."""
    return _known(dead_letters.get(connection, id), id)


def find_waiting(connection: Connection, id: str) -> DeadLetter:
    """Return a dead letter that is not resolved. Raises `Problem` 404, or 409 if it is."""
    return _waiting(dead_letters.get(connection, id), id)


def _waiting(letter: DeadLetter | None, id: str) -> DeadLetter:
    found = _known(letter, id)
    if found.state not in OPEN_STATES:
        raise Problem(409, "Already resolved", f"This dead letter is already {found.state}; nothing is left to do.")
    return found


def _known(letter: DeadLetter | None, id: str) -> DeadLetter:
    if letter is None:
        raise Problem(404, "Unknown dead letter", f"There is no dead letter {id!r}: `firsthour deadletters list`.")
    return letter


def summary(letter: DeadLetter | Summary) -> dict[str, Any]:
    """Return a dead letter without its body, which may hold personal data."""
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
    """Handle a dead letter again. `body`: a corrected body; None: the stored one.

    Raises:
        Problem: It failed. The letter stays as it is, with the number of tries and the last error.
    """
    try:
        return await units.run(lambda unit: _retry(unit, services, id, body))
    except StorageError:
        raise
    except Problem as problem:
        if problem.status != 404 and problem.title != "Already resolved":
            await _store_failure(units, clock, id, problem.detail or problem.title)
        raise
    except Exception as error:
        await _store_failure(units, clock, id, failure_reason(error))
        raise Problem(
            422,
            "Retry failed",
            f"It failed again ({type(error).__name__}); `firsthour deadletters show {id}` shows the error. "
            "Retry with a corrected body, or drop the letter.",
        ) from error


async def _store_failure(units: Units, clock: Clock, id: str, reason: str) -> None:
    def work(unit: Unit) -> None:
        letter = dead_letters.lock(unit, id)
        if letter is not None and letter.state in OPEN_STATES:
            dead_letters.store_outcome(unit.connection, id, letter.state, clock.real(), reason)

    await units.run(work)


def _retry(unit: Unit, services: Sequence[Service], id: str, body: bytes | None) -> dict[str, Any]:
    letter = _waiting(dead_letters.lock(unit, id), id)
    if letter.consumer == GATEWAY:
        return {"id": id, "state": "retried", "events": gateway_retry.retry(unit, letter, body)}
    corrected = letter if body is None else replace(letter, body=body)
    try:
        if letter.consumer == PUBLISHER:
            _publish(unit, corrected)
            return {"id": id, "state": "retried", "events": [letter.source]}
        worker.retry(unit, letter.consumer, _handler(services, letter), corrected)
    except UnknownEventError as error:
        raise Problem(422, "Not an event", f"{error}. Retry with a corrected body, or drop the letter.") from error
    return {"id": id, "state": "retried", "events": [letter.source]}


def _publish(unit: Unit, letter: DeadLetter) -> None:
    """Add a record that the broker refused to the outbox again."""
    if len(letter.body) > RECORD_BYTES_MAX:
        raise Problem(413, "", f"The record has {len(letter.body)} bytes; the maximum is {RECORD_BYTES_MAX}.")
    envelope = decode(letter.body)
    topic = letter.origin.partition("/")[0]
    unit.rows.append(Row(topic, envelope.partitionkey, envelope.id, letter.body))
    dead_letters.store_outcome(unit.connection, letter.id, "retried", unit.clock.real(), f"sent again to {topic}")


def _handler(services: Sequence[Service], letter: DeadLetter) -> Handler:
    topic = letter.origin.partition("/")[0]
    for service in services:
        if service.name == letter.consumer and topic in service.hears:
            return service.hears[topic]
    raise Problem(
        409,
        "No consumer",
        f"No service {letter.consumer} reads {topic} in this process; drop the letter.",
    )


def drop(unit: Unit, id: str) -> dict[str, Any]:
    """Drop a dead letter: its body is erased. Its row stays until retention, as evidence of the drop."""
    dead_letters.drop(unit.connection, find_waiting(unit.connection, id), unit.clock.real())
    return {"id": id, "state": "dropped"}
