"""One snapshot of the database and what the questions of `verify` share: who has read how far, which leads are judged.

Embedded, the `log` table is the event log, and cursors are ids of its rows. Past one machine `log` is an outbox, whose
rows go once they are published; cursors and the history's positions then count the records of a topic's partition, and
the history, which hears every topic, is what remains of them.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros
from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.records import partition_of
from schemas import topics
from schemas.agreement.agreement import Agreement
from schemas.envelope import UnknownEventError, decode
from schemas.team import Team
from services.notifier.domain.terms import Terms
from services.reporting.handlers import KEPT_DAYS
from services.router.domain.lead import CUSTOMER, OPPORTUNITY

UNDER_WAY: Final = timedelta(seconds=5)
"""How long a unit of another process may take from reading its clock to its commit."""
OVERDUE: Final = timedelta(seconds=60)
"""How long past its moment a clock or a page may wait where a process acts on it."""
IN_CRM: Final = frozenset({OPPORTUNITY, CUSTOMER})
"""Past the hand-over: the deal is in the CRM, which may move it there without an owner of ours."""
_STREAMED: Final = 200  # rows in memory at once, of questions whose answers grow with every record
_STATEMENT_TIMEOUT: Final = "2min"
_BY_LEAD: Final = (topics.LEADS, topics.ROUTES, topics.ACTIONS, topics.PAGES)


@dataclass(frozen=True)
class ConfigInForce:
    """A configuration that was in force from `since` (microseconds) on."""

    version: str
    since: int
    agreement: Agreement
    team: Team


@dataclass
class Snapshot:
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
        for name in statements.LOOK_UP:
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

    def rows(self, statement: sa.Select[Any]) -> Iterator[Any]:
        """The rows of a statement of the tables' own columns, some at a time."""
        yield from self.connection.execute(statement, execution_options={"yield_per": _STREAMED})

    @cached_property
    def _configurations(self) -> tuple[list[ConfigInForce], list[str]]:
        found: list[ConfigInForce] = []
        unreadable: list[str] = []
        for row in self.ask("SELECT version, taken_up_at, agreement, team FROM configurations ORDER BY taken_up_at"):
            try:
                agreement, team = Agreement.model_validate_json(row.agreement), Team.model_validate_json(row.team)
            except ValueError:
                unreadable.append(row.version)
            else:
                found.append(ConfigInForce(row.version, row.taken_up_at, agreement, team))
        return found, unreadable

    @property
    def configurations(self) -> list[ConfigInForce]:
        """Every configuration that was in force, oldest first."""
        return self._configurations[0]

    @property
    def unreadable(self) -> list[str]:
        """The versions of those that cannot be read."""
        return self._configurations[1]

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Whose each status is, by the newest configuration that knows it."""
        return {
            status: team for known in self.configurations for status, team in known.agreement.lifecycle.statuses.items()
        }

    @cached_property
    def versions(self) -> frozenset[str]:
        """The versions of which something is kept."""
        return frozenset(known.version for known in self.configurations)

    @cached_property
    def initial(self) -> frozenset[str]:
        """The statuses with which a lead began, under any agreement."""
        return frozenset(next(iter(known.agreement.lifecycle.statuses)) for known in self.configurations)

    @cached_property
    def _named_urgencies(self) -> set[tuple[str, ...]]:
        return {tuple(known.agreement.response.urgencies) for known in self.configurations}

    def ranks(self, urgency: str) -> set[int]:
        """The places of an urgency in the agreements; behind all of them where it is not named."""
        return {names.index(urgency) if urgency in names else len(names) for names in self._named_urgencies}

    @cached_property
    def _terms(self) -> list[Terms]:
        return [
            Terms(known.agreement.response.ladder, known.agreement.response.urgencies, known.team, ())
            for known in self.configurations
        ]

    @cached_property
    def terms(self) -> list[Terms]:
        """What the agreements say about telling people, each once."""
        once: list[Terms] = []
        for terms in self._terms:
            if all((terms.ladder, terms.urgencies) != (known.ladder, known.urgencies) for known in once):
                once.append(terms)
        return once

    def terms_at(self, at: int) -> Terms:
        """Those of the newest configuration at that moment (business microseconds)."""
        if not self._terms:
            return Terms((), {}, Team.model_construct(reps=(), pools=()), ())
        place = bisect_right(self.configurations, at, key=lambda known: known.since)
        return self._terms[max(0, place - 1)]

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

    def unread(self) -> dict[tuple[str, str], int]:
        """How many records each consumer has still to read of each topic, as far as the database tells: past one machine,
        what another consumer of the topic has read."""
        found: dict[tuple[str, str], int] = {}
        for topic, consumers in topics.HEARD_BY.items():
            for consumer in consumers:
                if missing := self._unread_of(consumer, topic):
                    found[consumer, topic] = missing
        return found

    def _unread_of(self, consumer: str, topic: str) -> int:
        if self.distributed:
            others = (self.ahead(other, consumer, topic) for other in topics.HEARD_BY[topic])
            return max(
                sum(self.read_to(other, topic, n) - at for n, at in behind.items())
                for other, behind in zip(topics.HEARD_BY[topic], others, strict=True)
            )
        counted = "SELECT count(*) FROM log WHERE topic = :topic AND id > :id"
        return int(self.ask(counted, topic=topic, id=self.read_to(consumer, topic))[0][0])

    def has_unheard(self, topic: str) -> bool:
        """Whether a record of the topic waits to be published or to be read by a consumer."""
        if self.distributed:
            return bool(self.ask("SELECT 1 FROM log WHERE topic = :topic LIMIT 1", topic=topic))
        position = min(self.read_to(consumer, topic) for consumer in topics.HEARD_BY[topic])
        return bool(self.ask("SELECT 1 FROM log WHERE topic = :topic AND id > :id LIMIT 1", topic=topic, id=position))

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
        """The keys of records that are dead letters; a dropped one has no body, and a foreign one has no key of ours."""
        for row in self.stream("SELECT key, body FROM dead_letters WHERE consumer <> 'gateway' AND state <> 'retried'"):
            try:
                yield decode(bytes(row.body)).partitionkey if row.body else row.key
            except UnknownEventError:
                continue
        yield from (row.lead_id for row in self.ask(_PARKED))  # also those whose body has been erased

    @cached_property
    def retold(self) -> set[str]:
        """Leads of which a service heard a record out of its turn: from a dead letter."""
        return {row.lead_id for row in self.ask(_RETOLD)}

    @property
    def whole(self) -> bool:
        """Whether the history holds everything that was said of the leads that are judged."""
        return self.heard or not self.distributed

    @property
    def all_told(self) -> bool:
        """Whether it also holds every record made since the asking began."""
        return self.whole and (self.since is None or not self.distributed)

    def is_told_of(self, at: datetime | None) -> bool:
        """Whether the history holds the records of that moment (business time); False for None."""
        if at is None or not self.whole:
            return False
        return self.all_told or self.since is None or at < self.since - UNDER_WAY

    @cached_property
    def kept_since(self) -> int:
        """The history still holds every record heard from this moment on (business microseconds)."""
        return micros(self.clock.business() - timedelta(days=KEPT_DAYS - 1))

    def is_overdue(self, at: datetime, grace: timedelta) -> bool:
        """Whether that moment (business time) has passed, with a process there to act on it."""
        real, slack = self.clock.real(), grace * self.speed
        watched = self.alive_since is not None and self.alive_since < real - grace
        return watched and at < self.clock.business() - slack

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

    def gone_twice(self, at: int) -> bool:
        """Whether the host's clock was set back and went through that moment (business microseconds) a second time: then
        only the order of records tells what came first. Past one machine the database's clock counts, and this is False."""
        return any(low <= at <= high for low, high in self._gone_twice)

    @cached_property
    def _gone_twice(self) -> list[tuple[int, int]]:
        lowest: dict[int, int] = {}  # by the newest moment before it
        newest = 0
        for row in self.stream(_IN_ORDER) if not self.distributed else ():
            if row.at < newest:
                lowest[newest] = min(row.at, lowest.get(newest, row.at))
            newest = max(newest, row.at)
        return [(low, high) for high, low in lowest.items()]

    def business_us(self, real_us: int) -> int | None:
        """The business time at which it was `real_us`; None when the clock may have run at another speed then."""
        if isinstance(self.clock, HostClock) and self.speed != 1.0 and real_us < micros(self.clock.origin_real):
            return None
        business, real = self._now_us
        return business - round((real - real_us) * self.speed)


_HEARD_BEYOND: Final = """
    SELECT lead_id, position FROM reporting_history
    WHERE topic = :topic AND lead_id IS NOT NULL AND position > :position"""
_IN_ORDER: Final = "SELECT at FROM reporting_history WHERE topic <> 'events' AND position > 0 ORDER BY position"
"""The moments of our own records, in the order in which they were made; one heard from a dead letter has no position."""
_CHANGED_SINCE: Final = (
    "SELECT lead_id FROM router_leads WHERE updated_at >= :since",
    "SELECT lead_id FROM scoring_profiles WHERE updated_at >= :since",
    "SELECT lead_id FROM notifier_clocks WHERE updated_at >= :since",
)
_PARKED: Final = """
    SELECT DISTINCT lead_id FROM dead_letters JOIN reporting_history ON reporting_history.id = dead_letters.source
    WHERE state <> 'retried' AND lead_id IS NOT NULL"""
_RETOLD: Final = """
    SELECT DISTINCT lead_id FROM dead_letters
    JOIN reporting_history ON reporting_history.id = dead_letters.source WHERE lead_id IS NOT NULL"""
_OF_TWO_MINDS: Final = (
    """SELECT scoring_profiles.lead_id FROM scoring_profiles
       LEFT JOIN router_leads ON router_leads.lead_id = scoring_profiles.lead_id
       WHERE router_leads.lead_id IS NULL OR scoring_version < scoring_profiles.version""",
    """SELECT router_leads.lead_id FROM router_leads
       LEFT JOIN notifier_clocks ON notifier_clocks.lead_id = router_leads.lead_id
       WHERE notifier_clocks.lead_id IS NULL OR notifier_clocks.version < router_leads.version""",
)
"""Leads of which one service knows more than the next: all that can be said of what waits in Kafka."""
