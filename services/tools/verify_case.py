"""One snapshot of the database and what the questions of `verify` share: who has read how far, which leads are judged.

Embedded, the `log` table is the event log, and cursors are ids of its rows. Past one machine `log` is an outbox, whose
rows go once they are published; cursors and the history's positions then count the records of a topic's partition, and
the history, which hears every topic, is what remains of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schemas import topics
from schemas.agreement import Agreement
from schemas.envelope import UnknownEventError, decode
from schemas.team import Team
from services.runtime import db
from services.runtime.clock import Clock, HostClock, micros
from services.runtime.log import partition_of

UNDER_WAY: Final = timedelta(seconds=5)
"""How long a unit of another process may take from reading its clock to its commit."""
_STREAMED: Final = 200  # rows in memory at once, of questions whose answers grow with every record
_STATEMENT_TIMEOUT: Final = "2min"
_BY_LEAD: Final = (topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.PAGES)


@dataclass(frozen=True)
class InForce:
    """A configuration that was in force from `since` (microseconds) on."""

    version: str
    since: int
    agreement: Agreement
    team: Team


@dataclass
class Case:
    """One snapshot. `since`, `alive_since`, `heard`: as given to `verify.run`."""

    connection: Connection
    clock: Clock
    since: datetime | None = None
    alive_since: datetime | None = None
    heard: bool = True

    def __post_init__(self) -> None:
        if not self.distributed:
            return
        # These questions go through whole tables; what sessions are told is for units, which look up a few rows.
        for name in db.LOOK_UP:
            self.connection.exec_driver_sql(f"SET LOCAL {name} = on")
        self.connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")

    @property
    def distributed(self) -> bool:
        """Whether `log` is an outbox here."""
        return self.connection.dialect.name != "sqlite"

    def ask(self, sql: str, **values: object) -> Sequence[Any]:
        """Every row of the answer."""
        return self.connection.execute(sa.text(sql), values).all()

    def stream(self, sql: str, **values: object) -> Iterator[Any]:
        """The rows of the answer, some at a time: it may be long. In a process that also serves, others go on between."""
        yield from self.connection.execute(sa.text(sql), values, execution_options={"yield_per": _STREAMED})

    @cached_property
    def configurations(self) -> list[InForce]:
        """Every configuration that was in force, oldest first."""
        rows = self.ask("SELECT version, taken_up_at, agreement, team FROM configurations ORDER BY taken_up_at")
        return [
            InForce(
                row.version,
                row.taken_up_at,
                Agreement.model_validate_json(row.agreement),
                Team.model_validate_json(row.team),
            )
            for row in rows
        ]

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Whose each status is, by the newest configuration that knows it."""
        return {
            status: team for known in self.configurations for status, team in known.agreement.lifecycle.statuses.items()
        }

    # --- who has read how far ---

    @cached_property
    def _cursors(self) -> Mapping[tuple[str, str], dict[int, int]]:
        found: dict[tuple[str, str], dict[int, int]] = {}
        for row in self.ask("SELECT consumer, topic, partition, position FROM cursors"):
            found.setdefault((row.consumer, row.topic), {})[row.partition] = row.position
        return found

    @cached_property
    def _partitions(self) -> int:
        """Of each topic: a consumer has a cursor in every partition from its first look at it on."""
        return 1 + max((max(at) for at in self._cursors.values()), default=0)

    def read_to(self, consumer: str, topic: str, partition: int = 0) -> int:
        """How far this consumer has read."""
        return self._cursors.get((consumer, topic), {}).get(partition, 0)

    def has_read(self, consumer: str, topic: str, key: str, position: int) -> bool:
        """Whether it has read the record of this key that stands there."""
        return position <= self.read_to(consumer, topic, partition_of(key, self._partitions))

    def ahead(self, consumer: str, other: str, topic: str) -> dict[int, int]:
        """The partitions in which `consumer` has read further than `other`, and how far `other` has."""
        mine = self._cursors.get((consumer, topic), {})
        theirs = {partition: self.read_to(other, topic, partition) for partition in mine}
        return {partition: at for partition, at in theirs.items() if at < mine[partition]}

    # --- who is judged ---

    @cached_property
    def unsettled(self) -> set[str]:
        """Leads that are not judged: a record of theirs is still to be read, or is a dead letter, or they just changed."""
        waiting = set(self._parked())
        waiting |= set(self._unread_past_one_machine() if self.distributed else self._unread())
        if self.since is not None:
            since = self.since - UNDER_WAY if self.distributed else self.since
            for sql in _CHANGED_SINCE:
                waiting |= {row.lead_id for row in self.ask(sql, since=micros(since))}
        if self.distributed and not self.heard:
            for sql in _OF_TWO_MINDS:
                waiting |= {row.lead_id for row in self.ask(sql)}
        return waiting

    def _unread(self) -> Iterator[str]:
        for topic in _BY_LEAD:
            position = min(self.read_to(consumer, topic) for consumer in topics.HEARD_BY[topic])
            rows = self.ask("SELECT DISTINCT key FROM log WHERE topic = :topic AND id > :id", topic=topic, id=position)
            yield from (row.key for row in rows)

    def _unread_past_one_machine(self) -> Iterator[str]:
        """What waits to be published, and what reporting has heard before another."""
        yield from (row.key for row in self.ask("SELECT DISTINCT key FROM log WHERE topic <> 'events'"))
        for topic in _BY_LEAD:
            for consumer in topics.HEARD_BY[topic]:
                behind = self.ahead("reporting", consumer, topic)
                if not behind:
                    continue
                for row in self.ask(_HEARD_BEYOND, topic=topic, position=min(behind.values())):
                    at = behind.get(partition_of(row.lead_id, self._partitions))
                    if at is not None and row.position > at:
                        yield row.lead_id

    def _parked(self) -> Iterator[str]:
        for row in self.ask("SELECT body FROM dead_letters WHERE consumer <> 'gateway' AND state <> 'retried'"):
            try:
                yield decode(bytes(row.body)).partitionkey
            except UnknownEventError:
                continue

    def settled(self, rows: Sequence[Any]) -> Iterator[Any]:
        """Those rows whose lead is judged."""
        return (row for row in rows if row.lead_id not in self.unsettled)

    # --- when ---

    @cached_property
    def speed(self) -> float:
        """How many times faster than real time business time runs."""
        return 1.0 / max(self.clock.real_seconds(timedelta(seconds=1)), 1e-9)

    @cached_property
    def _now_us(self) -> tuple[int, int]:
        return micros(self.clock.business()), micros(self.clock.real())

    def business_us(self, real_us: int) -> int | None:
        """The business time at which it was `real_us`; None when the clock may have run at another speed then."""
        if isinstance(self.clock, HostClock) and self.speed != 1.0 and real_us < micros(self.clock.origin_real):
            return None
        business, real = self._now_us
        return business - round((real - real_us) * self.speed)


_HEARD_BEYOND: Final = """
    SELECT lead_id, position FROM reporting_history
    WHERE topic = :topic AND lead_id IS NOT NULL AND position > :position"""
_CHANGED_SINCE: Final = (
    "SELECT lead_id FROM router_leads WHERE updated_at >= :since",
    "SELECT lead_id FROM scoring_profiles WHERE updated_at >= :since",
    "SELECT lead_id FROM notifier_clocks WHERE updated_at >= :since",
)
_OF_TWO_MINDS: Final = (
    """SELECT scoring_profiles.lead_id FROM scoring_profiles
       LEFT JOIN router_leads ON router_leads.lead_id = scoring_profiles.lead_id
       WHERE router_leads.lead_id IS NULL OR scoring_version < scoring_profiles.version""",
    """SELECT router_leads.lead_id FROM router_leads
       LEFT JOIN notifier_clocks ON notifier_clocks.lead_id = router_leads.lead_id
       WHERE notifier_clocks.lead_id IS NULL OR notifier_clocks.version < router_leads.version""",
)
"""Leads of which one service knows more than the next: all that can be said of what waits in Kafka."""
