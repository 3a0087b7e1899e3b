"""The section `visibility`: the leads that a rep sees."""

from typing import Literal

from schemas.values import Shape


class Visibility(Shape):
    """The leads that a rep sees and acts on: `own`, those of their `pool`s, or `all`, which is the default.

    `own`: leads that the rep owns. `pool`: also those that members of the rep's pools own, and those that wait for one of these
    pools. A rep who manages reps or pools in team.yaml also sees their leads. It applies to keys and sessions that act as a rep
    without the role `manager`; managers, Marketing and keys without a rep see all leads. A lead is visible by its owner and queue of
    now: after a hand-over, it is unknown to the owner before.
    """

    reps: Literal["own", "pool", "all"] = "all"
