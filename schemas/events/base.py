"""The base class of every event, and the types of values that events share."""

from typing import ClassVar

import msgspec

Value = str | int | float | bool
Facts = dict[str, Value]
Urgency = str
"""`hot`, `warm`, or another name in `response` of the agreement."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An event. `TYPE`: the type in its envelope. `TOPIC`: the topic of its record.

    An event is in no reference cycle, so the garbage collector skips it (`gc=False`).
    """

    TYPE: ClassVar[str]
    TOPIC: ClassVar[str]
