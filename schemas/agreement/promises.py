"""The sections `promises` and `goals`: the promises of each team, for the scorecard."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from schemas.agreement.fields import AtLeastOne, Share, Times
from schemas.values import Number, Shape, Span


class QualifiedPromise(Shape):
    """Marketing delivers `qualified_leads` per period."""

    qualified_leads: Times
    per: Literal["day", "week", "month", "quarter", "year"] = "month"
    grade_at_least: str | None = None


class CompletePromise(Shape):
    """A share of the leads handed over has these fields filled."""

    complete: Annotated[tuple[str, ...], AtLeastOne]
    share: Share


class AcceptPromise(Shape):
    """Sales accepts a share of its leads within this time."""

    accept_within: Span
    share: Share


class TouchPromise(Shape):
    """Sales touches a share of its leads within this time."""

    touch_within: Span
    share: Share


class AttemptsPromise(Shape):
    """A share of the leads that do not answer gets `attempts` within this time."""

    attempts: Times
    within: Span
    share: Share


def _kind_of_promise(value: object) -> str | None:
    """Return the tag of a promise, by the field that only its kind has. Tags have brackets, so no field has such a name."""
    fields = value if isinstance(value, Mapping) else vars(value) if isinstance(value, Shape) else {}
    kinds = ("qualified_leads", "complete", "accept_within", "touch_within", "attempts")
    return next((f"<{kind}>" for kind in kinds if kind in fields), None)


MarketingPromise = Annotated[
    Annotated[QualifiedPromise, Tag("<qualified_leads>")] | Annotated[CompletePromise, Tag("<complete>")],
    Discriminator(
        _kind_of_promise,
        custom_error_type="wrong",
        custom_error_message="this is not a promise of Marketing; write `qualified_leads:` or `complete:`",
    ),
]
SalesPromise = Annotated[
    Annotated[AcceptPromise, Tag("<accept_within>")]
    | Annotated[TouchPromise, Tag("<touch_within>")]
    | Annotated[AttemptsPromise, Tag("<attempts>")],
    Discriminator(
        _kind_of_promise,
        custom_error_type="wrong",
        custom_error_message="this is not a promise of Sales; write `accept_within:`, `touch_within:` or `attempts:`",
    ),
]


class Promises(Shape):
    """The promises of each team."""

    marketing: tuple[MarketingPromise, ...] = ()
    sales: tuple[SalesPromise, ...] = ()

    @property
    def cadence(self) -> AttemptsPromise | None:
        """The attempts that are promised to a lead that does not answer; None: none are. The first such promise counts."""
        return next((promise for promise in self.sales if isinstance(promise, AttemptsPromise)), None)


class Goal(Shape):
    """The planned revenue of a period (`2026`, `2026-Q4`, `2026-11`), and Marketing's share of it."""

    period: Annotated[str, Field(pattern=r"^\d{4}(-(Q[1-4]|0[1-9]|1[0-2]))?$")]
    revenue: Annotated[Number, Field(gt=0)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    sourced_by_marketing: Share | None = None
