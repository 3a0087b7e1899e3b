"""Compiles `sources.yaml`, once for each configuration: forms, signatures, mappings of webhooks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog

from firsthour.kernel.cache import once_per_version
from firsthour.kernel.config import Config
from firsthour.runtime.clock import Clock
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.config.source_secrets import SecretMissingError, UnusableSecretError, resolve
from firsthour.runtime.settings import environ
from schemas.fetching import Fetch
from schemas.sources import ApiSource, FormSource, Handshake, HubHandshake, KafkaSource, Quota, WebhookSource
from schemas.verification import BodyKey, Scheme, Secret, StandardWebhooks, UrlToken
from services.gateway.domain import segment, thin_events, webhooks
from services.gateway.domain.coerce import Json
from services.gateway.domain.forms import Form, field_names
from services.gateway.domain.verification.verifier import Verifier, verification
from services.gateway.fixed_reply import FixedReply
from services.gateway.senders import Types

SECRETS_SECONDS: Final = 1.0  # between two checks of the secret files

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class VendorApi:
    """The API that completes the thin events of a source.

    `base_url`: without a slash at its end. `headers`: with the token. `trouble`: why nothing can be fetched now.
    """

    lookup: thin_events.Lookup
    base_url: str
    host: str
    port: int
    headers: Mapping[str, str] = field(repr=False)
    trouble: str | None = None


@dataclass(frozen=True)
class WebhookEndpoint:
    """A sender of webhooks.

    `standard_header`: the header with the id of a delivery, if the sender follows Standard Webhooks. `trouble`: why its
    requests cannot be verified now. `tokens`: the secret is a part of the path. `body_secrets`: secrets that the body
    contains, which are removed before it is kept. `format`: of the body; None: its content type tells. `handshake_secret`: what
    proves the address to the vendor; empty: it is missing. `answers`: a request may wait for the effect of its event. `api`: completes its
    thin events; None: it sends none.
    """

    id: str
    verifier: Verifier | None = None
    standard_header: bytes | None = None
    entries: tuple[webhooks.CompiledMapping, ...] = ()
    trouble: str | None = None
    types: Types = frozenset()
    tokens: bool = False
    body_secrets: tuple[bytes, ...] = ()
    format: str | None = None
    reply: FixedReply | None = None
    handshake: Handshake | None = None
    handshake_secret: bytes = b""
    answers: bool = False
    api: VendorApi | None = None


@dataclass(frozen=True)
class InboundSource:
    """Programs that write to the topic `inbound`. `entries`: map their events; empty: these are ours already."""

    id: str
    types: Types
    entries: tuple[webhooks.CompiledMapping, ...] = ()
    quota: Quota | None = None


Producers = Mapping[str, InboundSource]
"""The source of each program that writes to Kafka, by the `source` of its events."""


@once_per_version
def producers_of(config: Config) -> Producers:
    """Return the sources that may write to the topic `inbound`."""
    producers: dict[str, InboundSource] = {}
    for source in config.sources.sources:
        if isinstance(source, KafkaSource):
            one = inbound_source(source, config.expression_places)
            producers |= dict.fromkeys(source.producers, one)
    return producers


def inbound_source(source: KafkaSource, places: Mapping[tuple[str, int, str], str]) -> InboundSource:
    """Compile a source. `places`: of its expressions, by source, index of the entry and field."""
    return InboundSource(source.id, source.sends, entries_of(source, places), source.quota)


@dataclass(frozen=True)
class SourceIndex:
    """Forms by form id, webhooks by source id. `keys`: the types that the keys of each `kind: api` source may send.

    `quotas`: by source id.
    """

    forms: Mapping[str, Form]
    webhooks: Mapping[str, WebhookEndpoint]
    keys: Mapping[str, Types] = field(default_factory=dict)
    quotas: Mapping[str, Quota] = field(default_factory=dict)


def source_index(config: Config, environ: Mapping[str, str]) -> SourceIndex:
    """Return the index of this configuration. `environ`: the environment, for secrets named by a variable."""
    forms: dict[str, Form] = {}
    endpoints: dict[str, WebhookEndpoint] = {}
    keys: dict[str, Types] = {}
    for source in config.sources.sources:
        match source:
            case FormSource():
                origins = frozenset(origin.lower() for origin in source.allowed_origins)
                names = field_names(source.honeypot, source.fields)
                for form in source.forms:
                    forms[form] = Form(form, source.id, source.honeypot, source.redirect, origins, names)
            case WebhookSource():
                read = partial(resolve, environ=environ, directory=config.directory)
                endpoints[source.id] = _endpoint(source, entries_of(source, config.expression_places), read)
            case ApiSource():
                keys[source.id] = frozenset(source.types)
    quotas = {source.id: source.quota for source in config.sources.sources if source.quota is not None}
    return SourceIndex(forms, endpoints, keys, quotas)


def entries_of(
    source: WebhookSource | KafkaSource, places: Mapping[tuple[str, int, str], str]
) -> tuple[webhooks.CompiledMapping, ...]:
    """Compile the mappings of a source, each with the places of its expressions."""
    entries: list[dict[str, str]] = [{} for _ in source.events]
    for (id, index, name), place in places.items():
        if id == source.id and index < len(entries):
            entries[index][name] = place
    compiled = tuple(map(webhooks.compile_mapping, source.events, entries))
    if isinstance(source, WebhookSource) and source.calls is not None:
        return (*compiled, _entry_of_calls(source))
    return compiled


def _entry_of_calls(source: WebhookSource) -> webhooks.CompiledMapping:
    """Return the entry that converts the calls of a tracking API. An own entry of the source replaces it for its type."""
    own = frozenset(mapping.type for mapping in source.events)

    def convert(item: Json, id: str) -> dict[str, Json] | None:
        form = segment.delivered(item, id)
        return None if form is None or form["type"] in own else form

    return webhooks.CompiledMapping("", None, {}, {}, convert=convert, texts={"": f"by calls: {source.calls}"})


def _endpoint(
    source: WebhookSource, entries: tuple[webhooks.CompiledMapping, ...], resolve_secret: Callable[[Secret], str]
) -> WebhookEndpoint:
    proofs, firsts, troubles, body_secrets = [], [], [], []
    count = 0
    for scheme in source.verify:
        secrets, trouble = _usable(scheme, resolve_secret)
        troubles += trouble
        if secrets:
            proofs.append(verification(scheme, secrets))
            firsts.append(count)
        if isinstance(scheme, BodyKey):
            body_secrets += [secret.encode() for secret in secrets]
        count += len(scheme.secrets)
    answer = source.answer
    standard = next((scheme for scheme in source.verify if isinstance(scheme, StandardWebhooks)), None)
    return WebhookEndpoint(
        source.id,
        Verifier(tuple(proofs), tuple(firsts)) if proofs else None,
        f"{standard.header_prefix}-id".encode() if standard else None,
        entries,
        trouble=None if proofs else "; ".join(troubles),
        types=source.sends,
        tokens=any(isinstance(scheme, UrlToken) and scheme.parameter is None for scheme in source.verify),
        body_secrets=tuple(body_secrets),
        format=source.format,
        reply=FixedReply(answer.status, answer.type, answer.body.encode()) if answer else None,
        handshake=source.handshake,
        handshake_secret=_handshake_secret(source, resolve_secret),
        answers=source.answers,
        api=_vendor_api(source.fetch, resolve_secret) if source.fetch is not None else None,
    )


def _vendor_api(fetch: Fetch, resolve_secret: Callable[[Secret], str]) -> VendorApi:
    headers, trouble = {"accept": "application/json", "user-agent": "FirstHour", **fetch.headers}, None
    if fetch.token is not None:
        try:
            value = resolve_secret(fetch.token)
            source_secrets.check(value, source_secrets.TOKEN)
            headers[fetch.token_header] = fetch.token_prefix + value
        except (SecretMissingError, UnusableSecretError) as error:
            trouble = f"the token of `fetch` {fetch.token.place}: {error}"
    parts = urlsplit(fetch.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return VendorApi(thin_events.compile_lookup(fetch), fetch.base_url, parts.hostname or "", port, headers, trouble)


def _handshake_secret(source: WebhookSource, resolve_secret: Callable[[Secret], str]) -> bytes:
    if source.handshake is None:
        return b""
    hub = source.handshake if isinstance(source.handshake, HubHandshake) else None
    try:
        return resolve_secret(hub.token if hub else source.verify[0].secrets[0]).encode()
    except SecretMissingError:
        return b""


def _usable(scheme: Scheme, resolve_secret: Callable[[Secret], str]) -> tuple[list[str], list[str]]:
    """Return the secrets that are keys of the scheme, and why others are not: a malformed secret must not count as a key."""
    secrets, troubles = [], []
    for secret in scheme.secrets:
        try:
            value = resolve_secret(secret)
            source_secrets.check(value, scheme.scheme)
        except (SecretMissingError, UnusableSecretError) as error:
            troubles.append(str(error))
        else:
            secrets.append(value)
    return secrets, troubles


class CurrentSources:
    """Keeps the index of the configuration in force. A secret file that appears or changes renews the index."""

    def __init__(self, configs: Configs, clock: Clock) -> None:
        self._configs = configs
        self._clock = clock
        self._config: Config | None = None
        self._index = SourceIndex({}, {})
        self._stamps: tuple[tuple[int, ...] | None, ...] = ()
        self._checked_at = clock.monotonic()

    @property
    def index(self) -> SourceIndex:
        config = self._configs.current
        if config is not self._config or self._secrets_changed(config):
            self._stamps = source_secrets.stamps(config)  # before the files are read, so that a later change is noticed
            self._index, self._config = source_index(config, environ()), config
            for endpoint in self._index.webhooks.values():
                if endpoint.trouble:
                    _log.error("source cannot be verified", source=endpoint.id, problem=endpoint.trouble)
        return self._index

    def _secrets_changed(self, config: Config) -> bool:
        """Tell whether a secret file has changed. The files are checked once per `SECRETS_SECONDS` at most."""
        now = self._clock.monotonic()
        if now - self._checked_at < SECRETS_SECONDS:
            return False
        self._checked_at = now
        return source_secrets.stamps(config) != self._stamps
