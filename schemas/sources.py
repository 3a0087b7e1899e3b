"""The model of `sources.yaml`: the sources of events, how each sender is verified, and how its bodies are mapped."""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Literal, Self

import idna
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from schemas.agreement.fields import EventType, event_type
from schemas.conditions.fields import FIELDS
from schemas.events.outside import OUTSIDE_TYPES
from schemas.facts import is_product_fact
from schemas.fetching import Fetch, PresetFetch
from schemas.form_fields import TheirNames
from schemas.values import ID_PATTERN, Flag, Number, Shape, Whole, did_you_mean, shown, wrong
from schemas.verification import FieldName, Secret, StandardWebhooks, Verify

PRESETS = (
    *("activecampaign", "aircall", "cal-com", "calendly", "contact-form-7", "customerio", "elementor", "google-ads"),
    *("gravity-forms", "hubspot", "intercom", "jotform", "linkedin", "marketo", "mautic", "meta", "pipedrive"),
    *(
        "rudderstack",
        "salesforce",
        "segment",
        "sendgrid",
        "slack",
        "standard-webhooks",
        "tally",
        "twilio",
        "typeform",
        "webflow",
    ),
)
"""The vendors whose webhooks are known: each has a file in firsthour/runtime/config/preset_files."""
THIN_PRESETS = ("hubspot", "linkedin", "meta")
"""The vendors that also, or only, name an event, which is then read from their API."""
TOUCH = "touch.recorded"
DEAL = "opportunity.changed"
ANY_CUSTOM = "custom.*"
MARKETING_TYPES = (*(type for type in OUTSIDE_TYPES if type not in (TOUCH, DEAL)), ANY_CUSTOM)
"""The types that every sender may send. A touch ends a promise and a deal moves a lead, so these two must be allowed."""

Id = Annotated[str, Field(pattern=ID_PATTERN)]
_ADDRESS = r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?"
_ORIGIN = re.compile(_ADDRESS)  # https, or http to this machine
_PAGE = re.compile(_ADDRESS + r"([/?#][!-\[\]-~]*)?")  # printable ASCII but `\`, which browsers read as `/`


def _origin(value: str) -> str:
    """Return the origin as a browser sends it. Raises for an origin that no browser sends."""
    if value == "*" or _ORIGIN.fullmatch(value):
        origin = value.lower()
        return origin.removesuffix(":443" if origin.startswith("https:") else ":80")
    remedy = "write https://host, with no path and no slash at the end"
    if not value.isascii():
        with suppress(idna.IDNAError, UnicodeError):
            scheme, separator, host = value.rpartition("//")
            name, colon, port = host.partition(":")
            encoded = f"{scheme}{separator}{idna.encode(name, uts46=True).decode()}{colon}{port}"
            remedy = f"write it as browsers send it, {encoded}" if _ORIGIN.fullmatch(encoded) else remedy
    raise wrong(f"{shown(value)} is not a web origin", remedy)


def _page(value: str) -> str:
    if _PAGE.fullmatch(value):
        return value
    raise wrong(f"{shown(value)} is not a safe web address", "write a full https:// address")


def _field_name(name: str) -> str:
    if is_product_fact(name):
        raise wrong(f"only FirstHour may state {shown(name)}", f"map it to `custom.{name}`")
    is_shared = name in FIELDS or re.fullmatch(r"custom\.[^\s]{1,100}", name)
    if is_shared or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,99}", name):
        return name
    raise wrong(
        f"{shown(name)} is not a field of leads or events", did_you_mean(name, FIELDS) + " (your own: `custom.<name>`)"
    )


def _sent_type(value: str) -> str:
    return value if value == ANY_CUSTOM else event_type(value)


SentTypes = Annotated[tuple[Annotated[str, AfterValidator(_sent_type)], ...], Field(min_length=1)]
"""Types of events; `custom.*` for all your own types."""


def may_send(types: Collection[str], type: str) -> bool:
    """Return whether a sender of these types may send this one. `custom.*` includes every custom type."""
    return type in types or (ANY_CUSTOM in types and type.startswith("custom."))


class EventMapping(Shape):
    """Maps a body to an event. Every entry whose `when` is true makes one event. All fields except `type` are JMESPath.

    `id` absent: the sender's delivery id if its scheme has one, otherwise the first 32 hexadecimal digits of the body's
    SHA-256; with `#2`, `#3` ... for the second, third ... item of a list. `time` absent: the time of arrival. `data` maps
    our fields (of the person, `custom.*`, of the event) to expressions. `each` selects a list in the body, whose items are
    mapped one by one; `_body` then is the whole body. Without `each`, the items of a body that is a list are mapped.
    `form_fields` selects an object of fields with the names that people use, which are understood as those of web forms.
    `client` is the address of the person's browser, if the vendor states it: bursts are counted by it. It is not stored.
    """

    each: str | None = None
    when: str | None = None
    type: EventType
    time: str | None = None
    id: str | None = None
    email: str | None = None
    phone: str | None = None
    crm_id: str | None = None
    anonymous_id: str | None = None
    client: str | None = None
    form_fields: str | None = None
    data: dict[Annotated[str, AfterValidator(_field_name)], str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_a_person(self) -> Self:
        if not (self.email or self.phone or self.crm_id or self.anonymous_id or self.form_fields):
            remedy = "map `email`, `phone`, `crm_id`, `anonymous_id` or `form_fields`"
            raise wrong("the mapping has no identifier of a person", remedy)
        return self


def _check_mapped_types(types: Collection[str], events: Iterable[EventMapping]) -> None:
    for mapping in events:
        if not may_send(types, mapping.type):
            raise wrong(f"`events` makes {mapping.type}, which `types` does not list", "add it to `types`")


class VendorAnswer(Shape):
    """The answer to a request that was accepted, if the vendor expects another than 202 with JSON."""

    status: Annotated[Whole, Field(ge=200, le=299)] = 200
    type: Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+(; ?charset=utf-8)?$")] = "application/json"
    body: Annotated[str, Field(max_length=2_000)] = ""


class HubHandshake(Shape):
    """A GET with `hub.mode=subscribe` and the agreed `hub.verify_token` is answered with its `hub.challenge`."""

    kind: Literal["hub"]
    token: Secret


class ChallengeCodeHandshake(Shape):
    """A GET with `challengeCode` is answered with the code and its HMAC (SHA-256, hex) under the first secret of the source."""

    kind: Literal["challenge-code"]


class EchoHandshake(Shape):
    """A verified POST whose body has this field is answered with it: `{"challenge": ...}`. It makes no event."""

    kind: Literal["echo"]
    field: FieldName = "challenge"


Handshake = Annotated[HubHandshake | ChallengeCodeHandshake | EchoHandshake, Field(discriminator="kind")]


def _share(value: float) -> float:
    if 0 < value <= 1:
        return value
    remedy = "write a share above 0 and up to 1, such as 0.5 for half of a pool"
    if value == 0:
        raise wrong("with a share of 0, no lead of this source would get an owner", remedy)
    raise wrong(f"`{value:g}` is not a share of a pool", remedy)


class Quota(Shape):
    """The most that a source usually sends. Beyond it, events that are no requests for contact are quarantined.

    A request for contact meets a line of `qualify` with `on:`. Each process of the gateway counts on its own.

    `share_of_pool` is the share of the places of a pool that leads of this source may take: above 0, at most 1. The places are
    the open leads that its available members may have. Leads beyond it wait behind all others. Leads that are assigned by hand
    count, and are not limited; nor is a pool limited in which an available member has no limit of open leads.
    """

    per_minute: Annotated[Whole, Field(ge=1)] | None = None  # events
    leads_per_hour: Annotated[Whole, Field(ge=1)] | None = None  # requests for contact
    share_of_pool: Annotated[Number, AfterValidator(_share)] | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.per_minute is None and self.leads_per_hour is None and self.share_of_pool is None:
            remedy = "add `per_minute: 600`, `leads_per_hour: 200` or `share_of_pool: 0.5`"
            raise wrong("the quota limits nothing", remedy)
        return self


class FormSource(Shape):
    """Web forms that browsers post to /v1/forms/<form>."""

    id: Id
    kind: Literal["form"]
    forms: Annotated[tuple[Id, ...], Field(min_length=1)]
    allowed_origins: tuple[
        Annotated[str, AfterValidator(_origin)], ...
    ] = ()  # empty: pages of other sites may not post
    honeypot: Annotated[str, Field(min_length=1, max_length=100)] = "_hp"  # a person leaves it empty, a robot fills it
    redirect: Annotated[str, AfterValidator(_page)] | None = None  # the next page after a plain HTML form
    fields: TheirNames = Field(default_factory=dict)  # names of this form's fields, before the built-in ones
    quota: Quota | None = None


class WebhookSource(Shape):
    """A sender of signed bodies, posted to /hooks/<id>."""

    id: Id
    kind: Literal["webhook"]
    verify: Verify
    format: Literal["json", "form", "xml"] | None = None  # of the body; absent: its content type tells
    handshake: Handshake | None = None  # how the vendor tries the address
    fetch: Fetch | None = None  # how thin events are completed
    answer: VendorAnswer | None = None
    calls: Literal["segment"] | None = None  # its bodies are calls of this tracking API, which need no `events`
    events: tuple[EventMapping, ...] = ()  # empty: the body is already an event of ours (only with Standard Webhooks)
    types: SentTypes | None = None  # allowed types; absent: the marketing types, and those named in `events`
    answers: Flag = False  # `?wait=SECONDS` in its address is answered with the score and the owner of the lead
    quota: Quota | None = None

    @property
    def sends(self) -> frozenset[str]:
        """The types that the source may send."""
        if self.types is not None:
            return frozenset(self.types)
        return frozenset(MARKETING_TYPES) | {mapping.type for mapping in self.events}

    @model_validator(mode="after")
    def _may_send_what_it_maps(self) -> Self:
        _check_mapped_types(self.sends, self.events)
        return self

    @model_validator(mode="after")
    def _is_mapped(self) -> Self:
        standard = [isinstance(scheme, StandardWebhooks) for scheme in self.verify]
        if any(standard) and len(standard) > 1:
            raise wrong("standard-webhooks cannot be combined with other schemes", "use a source for each of them")
        if not self.events and self.calls is None and not any(standard):
            raise wrong("the bodies of this sender are not mapped to events", "add `events:` with at least one entry")
        return self


class ApiSource(Shape):
    """A system that posts to /v1/events with its own key, created by `firsthour keys create --source <id>`."""

    id: Id
    kind: Literal["api"]
    types: SentTypes  # the only types that its keys may send
    quota: Quota | None = None

    @model_validator(mode="after")
    def _has_no_share(self) -> Self:
        if self.quota is not None and self.quota.share_of_pool is not None:
            mistake = "`share_of_pool` limits forms and webhooks; events of an API key carry the name of the key"
            raise wrong(mistake, "remove it, or let the system post to a source of kind webhook")
        return self


class KafkaSource(Shape):
    """Programs that write CloudEvents to the topic `inbound` (`firsthour.inbound`), over Kafka and PostgreSQL only.

    The broker decides which programs may write to the topic. `source` of an event names its producer.
    """

    id: Id
    kind: Literal["kafka"]
    producers: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(min_length=1)
    ]  # the `source` of their events, as they write it; `*`: every producer that no other source names
    types: SentTypes | None = None  # the only types that they may send; absent: those named in `events`
    events: tuple[EventMapping, ...] = ()  # maps the whole CloudEvent; empty: type and `data` are already ours
    quota: Quota | None = None  # counted by the times at which the records were written

    @property
    def sends(self) -> frozenset[str]:
        """The types that the source may send."""
        return frozenset(self.types if self.types is not None else (mapping.type for mapping in self.events))

    @model_validator(mode="after")
    def _may_send_something(self) -> Self:
        if not self.sends:
            raise wrong("`types` is missing", "add `types:` with the types that they may send, or `events:`")
        _check_mapped_types(self.sends, self.events)
        return self


class PresetSource(Shape):
    """A vendor whose signature and bodies FirstHour knows.

    `events` are tried besides those of the preset; an entry replaces those of the preset with the same type. The other fields
    replace those of the preset.
    """

    id: Id
    kind: Literal["webhook"] = "webhook"
    preset: str
    secrets: tuple[Secret, ...] = ()
    verify: Verify | None = None
    format: Literal["json", "form", "xml"] | None = None
    handshake: Handshake | None = None
    fetch: PresetFetch | None = None
    answer: VendorAnswer | None = None
    events: tuple[EventMapping, ...] = ()
    types: SentTypes | None = None
    answers: Flag = False
    quota: Quota | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if self.preset not in PRESETS:
            raise wrong(f"{shown(self.preset)} is not a preset", did_you_mean(self.preset, PRESETS))
        if self.fetch is not None and self.preset not in THIN_PRESETS:
            mistake = f"the preset {self.preset} has no thin events, so nothing is fetched"
            raise wrong(mistake, "remove `fetch`, or write the source without a preset")
        if self.verify is not None and self.secrets:
            raise wrong("`verify` has its own secrets", "remove `secrets`, or `verify`")
        if self.verify is None and not self.secrets:
            remedy = "add `secrets: [{env: NAME}]` with the secret that you agreed on with the vendor"
            raise wrong(f"the preset {self.preset} cannot verify requests without a secret", remedy)
        return self


def _kind_of_source(value: object) -> str | None:
    """The tag of a source. Tags have brackets, so no field has such a name."""
    fields = value if isinstance(value, Mapping) else vars(value) if isinstance(value, Shape) else {}
    if "preset" in fields:
        return "<preset>"
    kind = fields.get("kind")
    return f"<{kind}>" if kind in ("form", "webhook", "api", "kafka") else None


Source = Annotated[
    Annotated[FormSource, Tag("<form>")]
    | Annotated[WebhookSource, Tag("<webhook>")]
    | Annotated[ApiSource, Tag("<api>")]
    | Annotated[KafkaSource, Tag("<kafka>")]
    | Annotated[PresetSource, Tag("<preset>")],
    Discriminator(
        _kind_of_source,
        custom_error_type="wrong",
        custom_error_message="this is not a source; write `kind: form`, `kind: webhook`, `kind: api`, `kind: kafka` or `preset: <vendor>`",
    ),
]


class Sources(Shape):
    """All sources."""

    sources: tuple[Source, ...] = ()
