"""One click: the decision on a button, a link or a command by which a person acts on a lead.

A touch is a fact: it stops the clock, and is never refused because the assignment has changed. Every other click needs
the assignment that it was made for. The router checks each click again, and may refuse it; `undone` then takes the effect
back.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID, uuid5

import msgspec
from msgspec.structs import replace

from schemas.agreement.lifecycle import Lifecycle
from schemas.events.actions import ActionRequested
from schemas.events.routes import ActionResolved
from schemas.team import Rep, Team
from services.notifier.domain.clock import ResponseClock, timed
from services.notifier.domain.clock_events import BY_OWNER, accepted, attempted, owner_knows, touched
from services.notifier.domain.clock_step import Cancel, ClockStep
from services.notifier.domain.counting import unstopped
from services.notifier.domain.loss_text import spoken
from services.notifier.domain.outside_text import NAME_CHARS_MAX, unlinked
from services.notifier.domain.page import storable
from services.notifier.domain.recipients import managers
from services.notifier.domain.snooze import SNOOZED, snoozed, snoozed_until, unsnoozed
from services.notifier.domain.terms import Terms
from services.notifier.domain.times import at as time_text
from services.notifier.domain.times import zone_of

Action = Literal["accept", "reached", "no_answer", "reject", "snooze", "hand_over"]
Source = Literal["slack", "email", "page"]
ASSIGNED, ACCEPTED, WORKING = "assigned", "accepted", "working"
"""Statuses of every agreement."""
TOUCHES: Final = frozenset({"reached", "no_answer"})
LEAVING: Final = frozenset({"reject", "hand_over"})
"""The actions by which the lead leaves its owner."""
COVERS: Final = frozenset({"cover", "channel"})
"""The kinds of pages whose reader becomes the owner by accepting."""
NOTE_CHARS_MAX: Final = 2_000
NAMED_MAX: Final = 20
UNKNOWN_LEAD: Final = "This lead is not known here; it may have been deleted."
NO_REASON: Final = "By the agreement, this lead cannot be given back as it stands: it was accepted or contacted before."
NOTHING: Final = "Nothing was changed."
_LABELS: Final = {"reject": "Not a fit", "hand_over": "Hand over", "accept": "Accept", "snooze": "Snooze"}
_BLOCKED: Final = re.compile(r"\A(?:rep:)?(\S+)(?= cannot take | may not )")
"""The rep at the beginning of a refusal of the router."""
_EPOCH: Final = re.compile(r"\Aassignment \d+\b")
_CLICKS: Final = UUID("1f0f5c9e-3d1a-5f0e-9a55-0b4f3f6f7a21")


class Click(msgspec.Struct, frozen=True, kw_only=True):
    """A click of one person on one assignment of a lead."""

    person: str  # rep id
    lead_id: str
    epoch: int
    action: Action
    at: datetime  # business time
    source: Source
    key: str  # unique per click: a replay has the same key
    reason: str | None = None  # reject: one of the agreement's reasons
    note: str | None = None
    until: datetime | None = None  # snooze
    rep: str | None = None  # hand_over: the next owner

    @property
    def id(self) -> str:
        """The id of the click, and of the action that it requests."""
        return str(uuid5(_CLICKS, f"{self.source} {self.key}"))


class StoredClick(NamedTuple):
    """A click that was applied, as stored."""

    lead_id: str
    epoch: int
    person: str
    action: str
    at: datetime  # of a touch, that of the touch
    until: datetime | None  # of a snooze


class PagedAs(NamedTuple):
    """A page to the person of a click about its lead: the assignment, and the kind of the page."""

    epoch: int
    kind: str


@dataclass(frozen=True)
class ClickAnswer:
    """The result of a click, and the sentence for the person who clicked."""

    applied: bool
    text: str


@dataclass(frozen=True)
class ClickDecision:
    """The answer to a click, its effect on the clock, and the request to the router; None: neither."""

    answer: ClickAnswer
    step: ClockStep | None = None
    request: ActionRequested | None = None


def decide(
    click: Click,
    clock: ResponseClock | None,
    pages: Collection[PagedAs],
    terms: Terms,
    reasons: Sequence[str],
    now: datetime,
) -> ClickDecision:
    """Decide on a click that was not received before.

    Args:
        clock: of the lead; None: it has none.
        pages: the pages to this person about this lead.
        reasons: for which the agreement lets the owner reject a lead.
    """
    if clock is None:
        return refused(UNKNOWN_LEAD)
    role = _role(click, clock, pages, terms.team)
    if role is None:
        return refused(f"This lead is {_with(clock, terms.team)}, and you are neither its owner nor their manager.")
    if click.action in TOUCHES:
        return _touch(click, clock, terms, now)
    if click.epoch != clock.epoch or (clock.rep is None and not may_assign(click, clock, terms)):
        return refused(f"That assignment has ended: the lead is {_with(clock, terms.team)}.")
    if click.action == "accept" and role != "owner" and takes_over(clock, pages):
        request = _request(click, "hand_over", now, rep=click.person, cover=True)
        return _applied("The lead is yours now.", ClockStep(clock), request)
    if role not in ("owner", "manager") and clock.rep is not None:
        way = " Accept takes the lead over." if takes_over(clock, pages) else ""
        return refused(f"Only the owner or their manager can do this.{way}")
    match click.action:
        case "accept":
            return _accept(click, clock, terms, now)
        case "reject":
            return _reject(click, clock, reasons, now)
        case "snooze":
            return _snooze(click, clock, terms, now)
        case _:
            return _hand_over(click, clock, terms, now)


def refused(why: str) -> ClickDecision:
    """Return the refusal of a click, with its reason for the person."""
    return ClickDecision(ClickAnswer(False, f"{why} {NOTHING}"))


def reject_reasons(lifecycle: Lifecycle, clock: ResponseClock | None) -> tuple[str, ...]:
    """Return the reasons for which an owner may reject the lead as it stands, in the order of the agreement."""
    status = None if clock is None else _status(clock)
    ways = [
        way
        for way in lifecycle.transitions
        if way.as_ == "reject" and {"owner", "anyone"} & set(way.by) and status is not None and way.leaves(status)
    ]
    return tuple(dict.fromkeys(reason for way in ways for reason in way.reason))


def _status(clock: ResponseClock) -> str | None:
    """Return the status of the lead, as far as its clock shows it. None: the lead has no owner."""
    if clock.rep is None:
        return None
    since = clock.assigned_at or clock.submit_at
    touches = (clock.touched_at, clock.attempted_at, clock.talked_at)
    if any(at is not None and at > since for at in touches):
        return WORKING
    return ACCEPTED if clock.accepted else ASSIGNED


def next_owners(terms: Terms, clock: ResponseClock) -> tuple[Rep, ...]:
    """Return the reps to whom the lead can be handed over now: the members of its pool, else of its owner's pools.

    A lead without an owner that waits for no certain pool can go to the members of all pools.
    """
    return tuple(rep for rep in _colleagues(terms.team, clock) if rep.id not in terms.unavailable)


def no_colleague(terms: Terms, clock: ResponseClock) -> str:
    """Return why there is no rep to whom the lead can be handed over, as a sentence."""
    return not_free(terms, clock) or "The pool of this lead has no other member."


def not_free(terms: Terms, clock: ResponseClock) -> str:
    """Return the colleagues who get no lead now, and why, as a sentence; empty: all are free."""
    names = [
        f"{unlinked(rep.name, NAME_CHARS_MAX)} ({terms.unavailable[rep.id]})"
        for rep in _colleagues(terms.team, clock)
        if rep.id in terms.unavailable
    ]
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"Not free now: {', '.join(names[:NAMED_MAX])}{more}." if names else ""


def _colleagues(team: Team, clock: ResponseClock) -> Iterator[Rep]:
    """Yield the active reps of the pool, without the owner."""
    pool = team.pool_by_id.get(clock.pool or "")
    pools = [pool] if pool else [p for p in team.pools if clock.rep is None or clock.rep in {m.rep for m in p.members}]
    for id in dict.fromkeys(member.rep for pool in pools for member in pool.members if member.rep != clock.rep):
        rep = team.rep_by_id.get(id)
        if rep is not None and rep.active:
            yield rep


def undone(clock: ResponseClock, click: StoredClick, terms: Terms, now: datetime) -> ClockStep:
    """Take back the effect of a click that the router refused. Overdue rungs are due at once.

    The cancelled pages stay cancelled: the person who clicked knows of the lead.
    """
    same = clock.epoch == click.epoch
    if click.action in TOUCHES and clock.touched_at == click.at and clock.state == "met":
        state: Literal["missed", "live"] = "missed" if clock.missed_at is not None else "live"
        if clock.rep is None and clock.waiting_at is None:  # it has left Sales meanwhile, and owes no touch
            return ClockStep(replace(unstopped(clock), state="over", updated_at=now))
        told_at = clock.rung_told_at or now  # the touch has cancelled a page that was still being sent
        return _again(replace(unstopped(clock), state=state, rung_told_at=told_at), terms, now)
    if click.action == "accept" and same and clock.accepted:
        return _again(replace(clock, accepted=False), terms, now)
    if click.action == "snooze" and same:
        return _again(unsnoozed(clock, click.until, terms), terms, now)
    return ClockStep(clock)


def notice_of(result: ActionResolved, click: StoredClick, team: Team) -> str:
    """Return what the message of a page says after the router refused a click. It has names in place of ids."""
    why = (result.why or "the lead has changed").partition(";")[0]
    why = _EPOCH.sub("that assignment", _BLOCKED.sub(lambda match: _named(match[1], team), why))
    return unlinked(f"{_LABELS.get(click.action, result.action)} was refused: {why}.")


def _named(rep: str, team: Team) -> str:
    known = team.rep_by_id.get(rep)
    return unlinked(known.name if known else rep, NAME_CHARS_MAX)


def _again(clock: ResponseClock, terms: Terms, now: datetime) -> ClockStep:
    return ClockStep(timed(replace(clock, updated_at=now), terms))


def _role(click: Click, clock: ResponseClock, pages: Collection[PagedAs], team: Team) -> str | None:
    """Return the role of the person towards the lead: owner, manager, or only `paged`. None: none of these."""
    person = team.rep_by_id.get(click.person)
    if person is None or not person.active:
        return None
    if clock.rep == click.person:
        return "owner"
    if clock.rep is not None and click.person in team.managers(clock.rep):
        return "manager"
    return "paged" if pages else None


def may_assign(click: Click, clock: ResponseClock, terms: Terms) -> bool:
    """Return whether the click gives a waiting lead to a rep: a hand-over by a manager of the reps who could take it."""
    return click.action == "hand_over" and clock.running and click.person in managers(clock, terms)


def takes_over(clock: ResponseClock, pages: Collection[PagedAs]) -> bool:
    """Return whether Accept makes a person with these pages the owner."""
    return any(page.epoch == clock.epoch and page.kind in COVERS for page in pages)


def _with(clock: ResponseClock, team: Team) -> str:
    """Return where the lead is, for people."""
    if clock.rep is None:
        return "without an owner" if clock.running else "closed"
    rep = team.rep_by_id.get(clock.rep)
    return f"with {rep.name if rep else clock.rep}"


def _touch(click: Click, clock: ResponseClock, terms: Terms, now: datetime) -> ClickDecision:
    answered = click.action == "reached"
    at = max(min(click.at, now), clock.submit_at)
    channel = "phone" if clock.card.phone else "other"
    request = replace(_request(click, "touch", now), at=at, channel=channel, answered=answered)
    text = "Recorded: you reached them." if answered else "Recorded: an attempt without an answer."
    if not answered and terms.stopped_by == "conversation":
        text = f"{text} The clock runs until a conversation." if clock.running else text
        return _applied(text, attempted(clock, at, click.person, terms, now), request)
    if answered:
        clock = replace(clock, talked_at=min(clock.talked_at or at, at))
    step = touched(clock, at, click.person, terms, now)
    return _applied(f"{text} The clock has stopped." if clock.running else text, step, request)


def _accept(click: Click, clock: ResponseClock, terms: Terms, now: datetime) -> ClickDecision:
    if not clock.running:
        return refused("The lead has been contacted already.")
    if clock.accepted:
        return refused("The lead is accepted already.")
    cancel = Cancel(clock.lead_id, clock.epoch, BY_OWNER, scope="owner")
    step = ClockStep(replace(accepted(clock, terms, now), updated_at=now), cancels=(cancel,))
    text = f"Accepted. Reminders to the owner end; the time runs until {time_text(clock.promise_at, now, zone_of(terms.zone(click.person)))}."
    return _applied(text, step, _request(click, "accept", now))


def _reject(click: Click, clock: ResponseClock, reasons: Sequence[str], now: datetime) -> ClickDecision:
    if not reasons:
        return refused(NO_REASON)
    if click.reason is None or click.reason not in reasons:
        return refused(f"A rejection needs one of these reasons: {', '.join(map(spoken, reasons))}.")
    return _applied(f"Rejected: {spoken(click.reason)}.", ClockStep(clock), _request(click, "reject", now))


def _snooze(click: Click, clock: ResponseClock, terms: Terms, now: datetime) -> ClickDecision:
    """Postpone the owner's reminders, and pause the clock if the agreement says so."""
    after = snoozed(clock, click.until or now, terms, now)
    if isinstance(after, str):
        return refused(after)
    until = snoozed_until(after, now) or now
    known = owner_knows(replace(after, updated_at=now), terms, now)
    cancel = Cancel(clock.lead_id, clock.epoch, SNOOZED, scope="owner")
    request = replace(_request(click, "snooze", now), until=until)
    effect = "The clock pauses until then." if after.pauses != clock.pauses else "The clock keeps running."
    text = f"Snoozed until {time_text(until, now, zone_of(terms.zone(click.person)))}. {effect}"
    return _applied(text, ClockStep(known, cancels=(cancel,)), request)


def _hand_over(click: Click, clock: ResponseClock, terms: Terms, now: datetime) -> ClickDecision:
    choices = next_owners(terms, clock)
    rep = next((choice for choice in choices if choice.id == click.rep), None)
    if rep is None:
        names = ", ".join(choice.name for choice in choices[:NAMED_MAX])
        more = f" and {len(choices) - NAMED_MAX} more" if len(choices) > NAMED_MAX else ""
        can = f"The lead can be handed over to: {names}{more}." if names else no_colleague(terms, clock)
        return refused(f"{can} {not_free(terms, clock)}" if names else can)
    return _applied(f"Handed over to {rep.name}.", ClockStep(clock), _request(click, "hand_over", now, rep=rep.id))


def _request(
    click: Click,
    action: Literal["accept", "touch", "reject", "snooze", "hand_over"],
    now: datetime,
    *,
    rep: str | None = None,
    cover: bool = False,
) -> ActionRequested:
    return ActionRequested(
        action_id=click.id,
        action=action,
        lead_id=click.lead_id,
        epoch=click.epoch,
        at=now,
        by=f"rep:{click.person}",
        reason=click.reason,
        note=storable(click.note.strip(), NOTE_CHARS_MAX) or None if click.note else None,
        rep=rep,
        cover=cover,
    )


def _applied(text: str, step: ClockStep, request: ActionRequested) -> ClickDecision:
    return ClickDecision(ClickAnswer(True, text), step, request)
