"""The section `channels`: further services over which pages and changes of leads leave, by the name that `by:` uses.

Addresses that hold a secret are never written into the file: `{env: NAME}` names a variable of the environment.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.agreement.response import CHANNELS
from schemas.sources import Secret
from schemas.values import Shape, shown, wrong

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
WAYS_MAX: Final = 20


def _reference(value: object) -> object:
    if isinstance(value, str):
        raise wrong("a secret is not written into this file", "write `{env: NAME}` and set the variable NAME")
    return value


Reference = Annotated[Secret, BeforeValidator(_reference, json_schema_input_type=Secret)]
"""The place of a secret."""


class TeamsWay(Shape):
    """Microsoft Teams: a card in the channel of a workflow ("When a Teams webhook request is received")."""

    kind: Literal["teams"]
    url: Reference

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The places of its secrets."""
        return (self.url,)


def _name(name: str) -> str:
    if name in CHANNELS:
        raise wrong(f"{shown(name)} is a channel of every installation", "choose another name")
    if not _NAME.fullmatch(name):
        remedy = "write lower-case letters, digits, `_` and `-`, beginning with a letter, 32 at most"
        raise wrong(f"{shown(name)} is not a name of a channel", remedy)
    return name


WayOut = Annotated[TeamsWay, Field(discriminator="kind")]
WaysOut = Annotated[dict[Annotated[str, AfterValidator(_name)], WayOut], Field(max_length=WAYS_MAX)]
