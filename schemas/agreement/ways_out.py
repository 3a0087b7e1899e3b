"""The sections `channels` and `tell`: services over which pages and changes of leads leave, and recipients of teams.

Addresses that hold a secret are never written into the file: `{env: NAME}` names a variable of the environment.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from schemas.agreement.response import CHANNELS, Channels, SlackChannel
from schemas.values import EMAIL_PATTERN, Shape, shown, wrong
from schemas.verification import Secret

_ADDRESS: Final = re.compile(
    r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?([/?][!-\[\]-~]*)?"
)  # https, or http to this machine
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
HOST_CHARS_MAX: Final = 253
URL_CHARS_MAX: Final = 2_000
WAYS_MAX: Final = 20


def _reference(value: object) -> object:
    if isinstance(value, str):
        raise wrong("a secret is not written into this file", "write `{env: NAME}` and set the variable NAME")
    return value


Reference = Annotated[Secret, BeforeValidator(_reference, json_schema_input_type=Secret)]
"""The place of a secret."""


def can_be_called(url: str) -> bool:
    """Return whether length, host and port of the URL are in bounds.

    A host that ends in a number must be an address in its usual form: `0177.1` is another address to each program.
    """
    if len(url) > URL_CHARS_MAX:
        return False
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
        labels = host.split(".")
        if ":" in host or _NUMBER.fullmatch(labels[-1]):
            ip_address(host)
            return port != 0
    except ValueError:
        return False
    return port != 0 and len(host) <= HOST_CHARS_MAX and all(map(_LABEL.fullmatch, labels))


def _web_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        remedy = "write a full https:// address without user and password"
        raise wrong(f"{shown(value)} is not a safe web address", remedy)
    if not can_be_called(value):
        raise wrong(f"{shown(value)} cannot be called", f"correct host and port; {URL_CHARS_MAX:,} characters at most")
    return value


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else (value,)


WebhookType = Literal["lead.assigned", "lead.released", "lead.moved", "touch.applied"]
Address = Annotated[
    Annotated[str, AfterValidator(_web_address), Tag("<text>")] | Annotated[Secret, Tag("<reference>")],
    Discriminator(lambda value: "<text>" if isinstance(value, str) else "<reference>"),
]
"""A web address, or the place of one that is a secret."""
SigningSecrets = Annotated[
    tuple[Reference, ...],
    BeforeValidator(_listed, json_schema_input_type=Secret | tuple[Secret, ...]),
    Field(min_length=1, max_length=3),
]
"""One secret, or several: each signs, so that a receiver can change over to a new one."""


class Contact(Shape):
    """The recipient of what is said to a team: channels in order, and its address on Slack and mail."""

    by: Channels
    slack: SlackChannel | None = None
    email: Annotated[str, Field(pattern=EMAIL_PATTERN, max_length=254)] | None = None

    @model_validator(mode="after")
    def _has_an_address_for_each_channel(self) -> Self:
        if "slack" in self.by and self.slack is None:
            raise wrong("`by` names slack, and `slack` is missing", 'add `slack: "#channel"`')
        if "email" in self.by and self.email is None:
            raise wrong("`by` names email, and `email` is missing", "add `email: team@example.com`")
        return self


class Tell(Shape):
    """The recipients of everything that is said to a team and not to one rep. Absent: that team is told nothing."""

    marketing: Contact | None = None
    sales: Contact | None = None
    operator: Contact | None = None

    @property
    def hears_of_bursts(self) -> bool:
        """Whether a team is told of bursts that are held back."""
        return self.marketing is not None or self.sales is not None


class TeamsWay(Shape):
    """Microsoft Teams: a card in the channel of a workflow ("When a Teams webhook request is received")."""

    kind: Literal["teams"]
    url: Reference

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The places of its secrets."""
        return (self.url,)


class PagerDutyWay(Shape):
    """PagerDuty: a page raises an alert of the lead, an accept acknowledges it, a touch resolves it."""

    kind: Literal["pagerduty"]
    routing_key: Reference

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The places of its secrets."""
        return (self.routing_key,)


class AppriseWay(Shape):
    """A service of the `apprise` library, by its URL. `{phone}` and `{email}` in it stand for those of the person."""

    kind: Literal["apprise"]
    url: Reference

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The places of its secrets."""
        return (self.url,)


class WebhookWay(Shape):
    """A web address of yours that gets the changes of leads, signed as defined at standardwebhooks.com.

    `events` absent: it gets only the pages of the rungs that name it.
    """

    kind: Literal["webhook"]
    url: Address
    secret: SigningSecrets
    events: tuple[WebhookType, ...] = ()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The places of its secrets."""
        return (*self.secret, self.url) if isinstance(self.url, Secret) else self.secret


def _name(name: str) -> str:
    if name in CHANNELS:
        raise wrong(f"{shown(name)} is a channel of every installation", "choose another name")
    if not _NAME.fullmatch(name):
        remedy = "write lower-case letters, digits, `_` and `-`, beginning with a letter, 32 at most"
        raise wrong(f"{shown(name)} is not a name of a channel", remedy)
    return name


WayOut = Annotated[TeamsWay | PagerDutyWay | AppriseWay | WebhookWay, Field(discriminator="kind")]
WaysOut = Annotated[dict[Annotated[str, AfterValidator(_name)], WayOut], Field(max_length=WAYS_MAX)]
