"""The actions that the page of a lead offers to its person: those that the decision on a click would apply now."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from services.notifier.domain.click import (
    Action,
    Click,
    ClickAnswer,
    PagedAs,
    decide,
    next_owners,
    not_free,
    takes_over,
)
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.link import LinkAction
from services.notifier.domain.loss_text import spoken
from services.notifier.domain.outside_text import NAME_CHARS_MAX, unlinked
from services.notifier.domain.page import Page
from services.notifier.domain.page_words import ActionWords
from services.notifier.domain.snooze import snoozed, snoozed_until
from services.notifier.domain.terms import Terms
from services.notifier.domain.times import lasting
from services.notifier.domain.voices import ACTIONS

SNOOZES: Final = tuple(timedelta(minutes=minutes) for minutes in (10, 30, 60, 120, 240, 24 * 60))
FIELD_CHARS_MAX: Final = 4_000
"""Characters of a field of a form that are read. A note is cut further where it is stored."""
_QUESTIONS: Final[Mapping[Action, tuple[str, str]]] = {
    "reject": ("reason", "Reason"),
    "snooze": ("minutes", "Snooze for"),
    "hand_over": ("rep", "Hand over to"),
}
"""The field and the words of the question of a form."""
_NOTED: Final = frozenset({"reached", "no_answer", "reject"})
_TALKED: Final = "You have been in touch with the person."
_TAKEN_OVER: Final = "You become the owner of the lead. The clock keeps running."
_TRIAL: Final = "trial"


class Choice(NamedTuple):
    """One answer to the question of a form: its value and its label."""

    value: str
    label: str


@dataclass(frozen=True)
class OfferedAction:
    """One form.

    Attributes:
        field: The name of the answer to its question, one of `choices`; empty: there is no question.
        question: The words of the question.
        note: A note may be written.
        remark: A sentence about the choices; empty: there is none.
    """

    action: Action
    label: str
    effect: str
    field: str = ""
    question: str = ""
    choices: tuple[Choice, ...] = ()
    note: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that decides which actions a person has.

    Attributes:
        page: The page to the person.
        paged: All pages to the person about the lead.
        reasons: For which the agreement lets an owner reject a lead.
    """

    page: Page
    clock: ResponseClock
    paged: Collection[PagedAs]
    terms: Terms
    reasons: Sequence[str]
    now: datetime

    @property
    def reader(self) -> str:
        """The name of the person whose link it is: an action counts as theirs."""
        rep = self.terms.team.rep_by_id.get(self.page.person)
        return unlinked(rep.name, NAME_CHARS_MAX) if rep else ""

    @property
    def takes_over(self) -> bool:
        """Whether Accept makes the person the owner in place of another."""
        return self.page.person != self.clock.rep and takes_over(self.clock, self.paged)

    @property
    def heading(self) -> str:
        """The heading of the forms."""
        return "How did it go?" if self.clock.talked_at is None else "In touch again?"

    def answer(self, action: Action, **fields: str) -> ClickAnswer:
        """Return the answer that a click would get now, with these fields of its form."""
        click = click_of(self.page, action, self.now, _TRIAL, fields)
        return decide(click, self.clock, self.paged, self.terms, self.reasons, self.now).answer


def click_of(page: Page, action: Action, now: datetime, key: str, fields: Mapping[str, str]) -> Click:
    """Return the click that a form makes. Fields that the action does not use are left out."""
    return Click(
        person=page.person,
        lead_id=page.lead_id,
        epoch=page.epoch,
        action=action,
        at=now,
        source="page",
        key=key,
        reason=fields.get("reason") if action == "reject" else None,
        note=fields.get("note"),
        until=now + _span(fields.get("minutes", "")) if action == "snooze" else None,
        rep=fields.get("rep") if action == "hand_over" else None,
    )


def _span(minutes: str) -> timedelta:
    """Return the span of one of the choices; zero: the text is none of them."""
    return next((span for span in SNOOZES if minutes == _minutes(span)), timedelta(0))


def _minutes(span: timedelta) -> str:
    return str(int(span.total_seconds()) // 60)


def offered(facts: Facts) -> tuple[OfferedAction, ...]:
    """Return the actions that would be applied now, the most usual first."""
    forms = (_form(words, facts) for words in ACTIONS.values())
    return tuple(form for form in forms if form is not None)


def _form(words: ActionWords, facts: Facts) -> OfferedAction | None:
    """Return the form of an action; None: a click would be refused."""
    action, choices = words.action, _choices(words.action, facts)
    field, question = _QUESTIONS.get(action, ("", ""))
    if field and not choices:
        return None
    if action == "accept" and facts.page.person != facts.clock.rep and not facts.takes_over:
        return None  # a manager's Accept is one for the owner: it is said here that the reader takes the lead
    first = {field: choices[0].value} if choices else {}
    if not facts.answer(action, **first).applied:
        return None
    remark = not_free(facts.terms, facts.clock) if action == "hand_over" else ""
    return OfferedAction(action, words.label, _effect(words, facts), field, question, choices, action in _NOTED, remark)


def _effect(words: ActionWords, facts: Facts) -> str:
    """Return the effect of an action as the lead stands."""
    if words.action == "reached" and not facts.clock.running:
        return _TALKED
    return _TAKEN_OVER if words.action == "accept" and facts.takes_over else words.effect


def _choices(action: Action, facts: Facts) -> tuple[Choice, ...]:
    """Return the answers to the question of a form."""
    match action:
        case "reject":
            return tuple(Choice(reason, spoken(reason).capitalize()) for reason in facts.reasons)
        case "snooze":
            return _snoozes(facts)
        case "hand_over":
            reps = next_owners(facts.terms, facts.clock)
            return tuple(Choice(rep.id, unlinked(rep.name, NAME_CHARS_MAX)) for rep in reps)
        case _:
            return ()


def _snoozes(facts: Facts) -> tuple[Choice, ...]:
    """Return the spans that the terms do not shorten; the shortest one in any case."""
    kept: list[timedelta] = []
    for span in SNOOZES:
        after = snoozed(facts.clock, facts.now + span, facts.terms, facts.now)
        if not kept or (not isinstance(after, str) and snoozed_until(after, facts.now) == facts.now + span):
            kept.append(span)
    return tuple(Choice(_minutes(span), lasting(span)) for span in kept)


def label_of(action: LinkAction) -> str:
    """Return the label of an action."""
    return "Open the lead" if action == "open" else ACTIONS[action].label
