"""The section `routing`: the rules that choose an owner, and the queue."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import model_validator

from schemas.agreement.fields import AtLeastOne, Text
from schemas.conditions.condition import Condition
from schemas.conditions.tree import ALWAYS
from schemas.values import Duration, Shape, Span, Words, wrong


class Require(Shape):
    """The requirements for a rep. `languages`: the rep speaks all of them."""

    languages: Words = ()


class RoutingRule(Shape):
    """Sends a lead to `pool`, or `to` the owner of its account or its previous owner (of the last `within`)."""

    name: Text
    when: Condition = ALWAYS
    to: Literal["account.owner", "previous_owner"] | None = None
    pool: str | None = None
    within: Span | None = None
    require: Require = Require()

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        if (self.to is None) == (self.pool is None):
            raise wrong("a rule goes either to a pool or to an owner", "give one of `pool:` and `to:`")
        if self.within is not None and self.to != "previous_owner":
            raise wrong("`within` is for `to: previous_owner`", "remove it")
        return self


class QueuePolicy(Shape):
    """The alert for a lead that no rep can take: its recipient and its delay."""

    alert: Literal["manager"] = "manager"
    after: Duration = timedelta(minutes=15)


class Routing(Shape):
    """The rules in order: the first rule that holds and finds a rep decides.

    If no rule that holds finds a rep, the lead waits in the queue of the first pool among them.
    """

    rules: Annotated[tuple[RoutingRule, ...], AtLeastOne]
    never_back_to_same_rep_for: Duration = timedelta(days=30)
    queue: QueuePolicy = QueuePolicy()
