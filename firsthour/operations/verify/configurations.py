"""The configurations that have been in force, as `verify` compares rows with them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from firsthour.kernel.business_time import Span
from firsthour.operations.verify.queries import Queries
from schemas.agreement.agreement import Agreement
from schemas.as_accepted import read_as_accepted
from schemas.team import Team
from services.notifier.domain.follow_up import follow_up_of
from services.notifier.domain.terms import Terms
from services.notifier.domain.working_hours import fingerprint

_ABSENCES: Final = "SELECT rep, absences FROM notifier_reps WHERE absences <> '[]'"
_HOURS: Final = "SELECT revision, configuration, changed_at FROM notifier_hours"
_CONFIGURATIONS: Final = "SELECT version, taken_up_at, agreement, team FROM configurations ORDER BY taken_up_at"
_spans = msgspec.json.Decoder(tuple[Span, ...]).decode


@dataclass(frozen=True)
class ConfigInForce:
    """A configuration that was in force from `since` (microseconds) on."""

    version: str
    since: int
    agreement: Agreement
    team: Team


class KnownLeave:
    """The absences that reps stated over the API, and the changes of calendars and leave until now."""

    def __init__(self, queries: Queries) -> None:
        self._absences = {row.rep: _spans(row.absences) for row in queries.ask(_ABSENCES)}
        row = next(iter(queries.ask(_HOURS)), None)
        self.revision = row.revision if row else 0
        self.configuration = row.configuration if row else ""
        self.changed_at = row.changed_at if row else 0

    def of(self, rep: str) -> Sequence[Span]:
        """Return the absences of this rep."""
        return self._absences.get(rep, ())


class Configurations:
    """All configurations that have been in force. `readable`: oldest first. `unreadable`: their versions."""

    def __init__(self, queries: Queries) -> None:
        self.leave = KnownLeave(queries)
        self.readable: list[ConfigInForce] = []
        self.unreadable: list[str] = []
        for row in queries.ask(_CONFIGURATIONS):
            try:
                agreement = read_as_accepted(Agreement, row.agreement)
                team = read_as_accepted(Team, row.team)
            except ValueError:
                self.unreadable.append(row.version)
            else:
                self.readable.append(ConfigInForce(row.version, row.taken_up_at, agreement, team))

    @cached_property
    def teams_by_status(self) -> dict[str, str]:
        """The team that each status belongs to, by the newest configuration that has the status."""
        return {
            status: team for config in self.readable for status, team in config.agreement.lifecycle.statuses.items()
        }

    @cached_property
    def versions(self) -> frozenset[str]:
        """The versions of the readable configurations."""
        return frozenset(config.version for config in self.readable)

    @cached_property
    def initial_statuses(self) -> frozenset[str]:
        """The first status of a lead, under each agreement."""
        return frozenset(next(iter(config.agreement.lifecycle.statuses)) for config in self.readable)

    @cached_property
    def _urgency_names(self) -> set[tuple[str, ...]]:
        return {tuple(config.agreement.response.urgencies) for config in self.readable}

    def ranks(self, urgency: str) -> set[int]:
        """Return the position of an urgency in each agreement. An agreement that lacks it places it last."""
        return {names.index(urgency) if urgency in names else len(names) for names in self._urgency_names}

    @cached_property
    def _terms_by_config(self) -> list[Terms]:
        return [
            Terms(
                config.agreement.response.ladder,
                config.agreement.response.urgencies,
                config.team,
                (),
                config.agreement.calendars,
                self.leave,
                pauses=config.agreement.response.pause_limits,
                follow_up=follow_up_of(config.agreement.response),
                bursts_told=config.agreement.tell.hears_of_bursts,
                queue_alert_after=config.agreement.routing.queue.after,
            )
            for config in self.readable
        ]

    @cached_property
    def terms(self) -> list[Terms]:
        """The response terms of the agreements, without repetitions."""
        distinct: list[Terms] = []
        for terms in self._terms_by_config:
            if terms not in distinct:
                distinct.append(terms)
        return distinct

    @property
    def counts_by_newest(self) -> bool:
        """Whether clocks are counted by the calendars of the newest configuration, or will be at the next tick."""
        newest = self.readable[-1] if self.readable else None
        return newest is None or fingerprint(newest.agreement, newest.team) == self.leave.configuration

    def terms_at(self, at: int) -> Terms:
        """Return the terms in force at that moment (business microseconds)."""
        if not self._terms_by_config:
            return Terms((), {}, Team.model_construct(reps=(), pools=()), ())
        index = bisect_right(self.readable, at, key=lambda config: config.since)
        return self._terms_by_config[max(0, index - 1)]
