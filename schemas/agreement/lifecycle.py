"""The section `lifecycle`: the statuses of a lead and the transitions between them."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.agreement.fields import AtLeastOne
from schemas.values import Shape, Words, as_list, shown, wrong

Actor = Literal["system", "owner", "manager", "marketing", "sales", "anyone"]
Verb = Literal["reject", "recycle", "reassign"]
Actors = Annotated[
    tuple[Actor, ...], BeforeValidator(as_list, json_schema_input_type=Actor | tuple[Actor, ...]), AtLeastOne
]
ANY_STATUS = "any"
STAGE_CHARS_MAX: Final = 200
STAGES_MAX: Final = 20
OUTCOMES: Final = ("open", "won", "lost")
"""The words of a CRM for an opportunity that has begun or ended: the lead has a status for each."""


def _stages(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word in OUTCOMES:
            raise wrong(f"{shown(word)} is no stage: the lead has a status for it", "leave it out")
        if words.count(word) > 1:
            raise wrong(f"{shown(word)} stands here twice", "write each stage once")
        if not word or len(word) > STAGE_CHARS_MAX:
            raise wrong(f"{shown(word)} is no stage", f"write 1 to {STAGE_CHARS_MAX} characters")
    return words


class Transition(Shape):
    """One transition out of a status. `reason`: the allowed reasons; empty: no reason is required."""

    from_: Words = Field(alias="from", min_length=1)
    to: str
    by: Actors
    as_: Verb | None = Field(default=None, alias="as")
    reason: Words = ()
    when: Literal["touched", "consent.given"] | None = None

    def leaves(self, status: str) -> bool:
        """Return whether this transition starts at `status`. `from: any` starts at each status except its own end."""
        return status in self.from_ or (ANY_STATUS in self.from_ and status != self.to)


STATUSES: dict[str, Literal["marketing", "sales", "nobody"]] = {
    "new": "marketing",
    "nurturing": "marketing",
    "qualified": "sales",
    "assigned": "sales",
    "accepted": "sales",
    "working": "sales",
    "opportunity": "sales",
    "customer": "sales",
    "disqualified": "marketing",
    "opted-out": "nobody",
}
_HELD = ("assigned", "accepted", "working")


def _way(start: str | tuple[str, ...], end: str, *by: Actor, **rest: object) -> Transition:
    return Transition.model_validate({"from": start, "to": end, "by": by, **rest})


TRANSITIONS: tuple[Transition, ...] = (
    _way(("new", "nurturing"), "qualified", "system"),
    _way("qualified", "assigned", "system"),
    _way("assigned", "accepted", "owner"),
    _way("assigned", "nurturing", "owner", as_="reject", reason=("not-now", "wrong-person", "no-budget", "competitor")),
    _way("assigned", "qualified", "owner", as_="reject", reason=("wrong-territory", "no-time", "conflict")),
    _way(("assigned", "accepted"), "working", "system", when="touched"),
    _way(_HELD, "qualified", "system", "manager", "owner", as_="reassign"),
    _way(_HELD, "opportunity", "owner", "system"),
    _way("nurturing", "opportunity", "system"),
    _way("opportunity", "customer", "owner", "system"),
    _way(("accepted", "working", "opportunity"), "nurturing", "owner", "system", as_="recycle",
         reason=("no-answer", "stalled", "lost")),
    _way(("new", "nurturing"), "disqualified", "marketing", reason=("spam", "duplicate", "competitor")),
    _way("qualified", "disqualified", "manager", reason=("spam",)),  # of a dropped burst
    _way("disqualified", "nurturing", "marketing"),
    _way(ANY_STATUS, "opted-out", "anyone"),
    _way("opted-out", "nurturing", "system", when="consent.given"),
)  # fmt: skip


class Lifecycle(Shape):
    """The statuses, each with its team, and the only transitions between them.

    `campaigns`: statuses of leads that campaign lists may include. `stages`: the stages of an opportunity in their order, in
    the words of the CRM; the funnel counts those.
    """

    statuses: dict[str, Literal["marketing", "sales", "nobody"]] = STATUSES
    transitions: tuple[Transition, ...] = TRANSITIONS
    campaigns: tuple[str, ...] = ()
    stages: Annotated[Words, Field(max_length=STAGES_MAX), AfterValidator(_stages)] = ()
