"""The steps of the funnel, in order, as the agreement has them."""

from typing import Final, NamedTuple

from firsthour.kernel.config import Config
from schemas.agreement.lifecycle import Lifecycle

ATTEMPT: Final = "touch:attempt"
CONVERSATION: Final = "touch:conversation"
STAGE: Final = "stage:"
_ORDER: Final = ("new", "nurturing", "qualified", "assigned", "accepted", "working", "opportunity", "customer")
_TOUCHES_BEFORE: Final = "working"
_STAGES_AFTER: Final = "opportunity"
_CUSTOMER: Final = "customer"
_DISQUALIFIED: Final = "disqualified"
_NOBODY: Final = "nobody"


class FunnelStep(NamedTuple):
    """One step: its key in rows and links, its name for people, and its kind."""

    key: str
    name: str
    kind: str  # status, touch or stage


def is_lost(lifecycle: Lifecycle, status: str) -> bool:
    """Return whether a status is a loss: one without a team, `disqualified`, or one of the agreement's after `customer`."""
    names = list(lifecycle.statuses)
    if lifecycle.statuses.get(status) == _NOBODY or status == _DISQUALIFIED:
        return True
    if status in _ORDER or status not in names or _CUSTOMER not in names:
        return False
    return names.index(status) > names.index(_CUSTOMER)


def statuses_in_order(lifecycle: Lifecycle) -> list[str]:
    """Return the statuses that are steps. One that the agreement adds follows the status that it is written after."""
    ordered: list[str] = [name for name in _ORDER if name in lifecycle.statuses]
    before = ""
    for name in lifecycle.statuses:
        if name not in _ORDER and not is_lost(lifecycle, name):
            ordered.insert(ordered.index(before) + 1 if before in ordered else 0, name)
        before = name if name in ordered else before
    return ordered


def steps_of(config: Config) -> tuple[FunnelStep, ...]:
    """Return the steps of an agreement, from the first event to revenue."""
    lifecycle = config.agreement.lifecycle
    steps: list[FunnelStep] = []
    for status in statuses_in_order(lifecycle):
        if status == _TOUCHES_BEFORE:
            steps += [FunnelStep(ATTEMPT, "first attempt", "touch"), FunnelStep(CONVERSATION, "conversation", "touch")]
        steps.append(FunnelStep(status, status, "status"))
        if status == _STAGES_AFTER:
            steps += [FunnelStep(STAGE + stage, stage, "stage") for stage in lifecycle.stages]
    return tuple(steps)
