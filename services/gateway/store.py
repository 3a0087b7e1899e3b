"""Stores the outcome of a request, and answers it: rows in the log, rejected bodies as dead letters."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec.structs import replace

from firsthour.runtime.eventlog.dead_letters import GATEWAY, Retention
from firsthour.runtime.http import idempotency
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.storage.unit import Lane, StorageError, Unit, Units
from services.gateway import fetches, quarantine, replies, unmatched
from services.gateway.accepted_metrics import AcceptedMetrics
from services.gateway.intake.outcome import Accepted, Quarantined, Rejected, RejectedBody, RetryKey, UnmatchedBody
from services.gateway.kept_bodies import keep_body
from services.gateway.replies import Reply
from services.gateway.source_counts import QUARANTINED, ROBOT, UNMAPPED, UNMATCHED, SourceCounts

_KEPT: Final = " The body is kept: it can be corrected and retried."


class IntakeStore:
    """Stores the outcomes of requests. A reply or a problem is returned after the commit."""

    def __init__(
        self,
        units: Units,
        telemetry: Telemetry,
        retention: Retention,
        counts: SourceCounts,
        seconds: Callable[[], float],
    ) -> None:
        """`seconds`: a clock that only moves on."""
        self._units = units
        self._counts = counts
        self._telemetry = telemetry
        self._retention = retention
        self._sample = unmatched.UnmatchedSample(seconds)
        self._metrics = AcceptedMetrics(telemetry)

    def commit(self, outcome: Accepted | Rejected) -> Coroutine[Any, Any, Reply | Problem]:
        """Store the outcome. Return the answer: the events that it acknowledges are durable. Raises `StorageError`."""
        if isinstance(outcome, Rejected):
            self._counts.refuse(outcome.source, outcome.problem.status)
            return self._reject(outcome.problem, outcome.body)
        if outcome.unmatched:
            self._counts.note(outcome.source, UNMATCHED, outcome.unmatched)
        if outcome.unmatched_body is not None:
            return self._keep_sample(outcome, outcome.unmatched_body)
        if outcome.quarantined is not None:
            return self._append_and_quarantine(outcome, outcome.quarantined)
        if outcome.bodies or outcome.thin:
            return self._append_with_bodies(outcome)
        if outcome.retry_key is not None:
            return self._append_once(outcome, outcome.retry_key)
        return self._append(outcome)

    async def _append(self, accepted: Accepted) -> Reply:
        if accepted.rows:
            await self._units.append(accepted.rows)
            self.count(accepted)
        return replies.accepted(accepted.ids)

    async def _keep_sample(self, accepted: Accepted, body: UnmatchedBody) -> Reply:
        """Keep the body if it is one of the newest of its type. If it cannot be stored, it is only counted."""
        if self._sample.takes(body):
            with contextlib.suppress(StorageError):  # logged by the storage
                await self._units.run(lambda unit: unmatched.keep(unit, body, self._retention), Lane.BULK)
        return replies.accepted(accepted.ids)

    async def _append_once(self, accepted: Accepted, retry_key: RetryKey) -> Reply | Problem:
        """Append in one unit with the answer. A repeated request gets the stored answer."""

        def work(unit: Unit) -> idempotency.StoredAnswer:
            def append() -> tuple[int, bytes]:
                unit.rows.extend(accepted.rows)
                return 202, replies.accepted(accepted.ids).body

            return idempotency.once(unit, retry_key.scope, retry_key.key, retry_key.fingerprint, append)

        try:
            answer = await self._units.run(work)
        except StorageError:
            # The key cannot be stored. The log may still accept the events; a retry has the same event ids.
            return await self._append(accepted)
        except Problem as problem:
            body = retry_key.body
            return await self._reject(problem, None if body is None else replace(body, error=str(problem)))
        if not answer.replayed:
            self.count(accepted)
        return Reply(answer.status, answer.body, replayed=answer.replayed)

    async def _append_and_quarantine(self, accepted: Accepted, quarantined: Quarantined) -> Reply:
        """Append in one unit with the events that are quarantined, and the dead letters of rejected bodies."""

        def work(unit: Unit) -> list[str]:
            quarantine.keep(unit, quarantined.source, quarantined.rows)
            return self._store(unit, accepted)

        try:
            letters = await self._units.run(work)
        except StorageError:
            if accepted.bodies or accepted.thin:
                raise
            # Nothing can be quarantined now. The log may still accept the events: a flood is better than a loss.
            await self._units.append([*accepted.rows, *(row for _, row in quarantined.rows)])
            letters = []
        self._counts.note(accepted.source, QUARANTINED, len(quarantined.rows))
        self.count(accepted)
        if not accepted.faults:
            return replies.accepted(accepted.ids)
        self._counts.note(accepted.source, UNMAPPED, len(accepted.faults))
        return replies.partly_accepted(accepted.ids, letters, accepted.faults)

    async def _append_with_bodies(self, accepted: Accepted) -> Reply:
        """Append in one unit with the dead letters of the rejected bodies, and with what is to be completed."""
        letters = await self._units.run(lambda unit: self._store(unit, accepted))
        self.count(accepted)
        if not accepted.faults:
            if accepted.bodies:  # a robot gets the answer of a person
                self._counts.note(accepted.source, ROBOT)
            return replies.accepted(accepted.ids)
        self._counts.note(accepted.source, UNMAPPED, len(accepted.faults))
        for _ in letters:
            self._telemetry.dead_letter(GATEWAY)
        return replies.partly_accepted(accepted.ids, letters, accepted.faults)

    async def _reject(self, problem: Problem, body: RejectedBody | None) -> Problem:
        """Keep the body, and name its dead letter in the problem. None: nothing is kept."""
        if body is None or problem.status >= 500:
            return problem
        letter = await self._units.run(lambda unit: keep_body(unit, body, self._retention))
        self._telemetry.dead_letter(GATEWAY)
        problem.detail += _KEPT
        problem.extensions["dead_letter"] = letter
        return problem

    def _store(self, unit: Unit, accepted: Accepted) -> list[str]:
        """Store the rows, the thin events and the rejected bodies. Return the ids of their dead letters."""
        unit.rows.extend(accepted.rows)
        fetches.add(unit, accepted.source, accepted.thin, unit.now)
        return [keep_body(unit, body, self._retention) for body in accepted.bodies]

    def count(self, accepted: Accepted) -> None:
        """Count the events, once they are stored."""
        if not accepted.events:
            return
        self._metrics.count(accepted.source, accepted.events)
        self._counts.accept(accepted.source, accepted.events)
