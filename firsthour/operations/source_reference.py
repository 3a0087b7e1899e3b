"""The pages of docs/reference about sources: presets of vendors, proofs of requests, expressions of mappings."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, get_args

from firsthour.runtime.config import presets
from schemas.fetching import Fetch
from schemas.mapping_functions import MAPPING_FUNCTIONS
from schemas.sources import PRESETS
from schemas.values import duration_text
from schemas.verification import SIGNED_PARTS, Scheme
from services.gateway.domain import segment
from services.gateway.domain.fetch_outcomes import GIVE_UP_AFTER
from services.gateway.fetcher import TIMEOUT_SECONDS

_ADDRESS: Final = re.compile(r"(/hooks/<id>(?:/<secret>)?|\?rep=)")
_PRESETS_INTRODUCTION: Final = """# Presets of vendors

A source with `preset:` verifies and maps the webhooks of a vendor:

```yaml
sources:
  - id: website-forms
    preset: typeform
    secrets: [{env: TYPEFORM_SECRET}]   # a second one may be listed while you change from one to the next
```

Own `events:` are added; an entry replaces those of the preset with the same type. `verify`, `format`, `handshake`, `answer` and
`types` replace those of the preset. `fetch:` changes version, base_url, path, token or headers of a preset that [fetches](mapping.md). `firsthour source try ID --body FILE` shows what a delivery would become. A vendor without a
preset needs `verify:` and `events:` of your own, see [verification](verification.md) and [mapping](mapping.md).
"""
_VERIFICATION_INTRODUCTION: Final = """# Verification of webhooks

`verify:` of a webhook source states how its sender proves itself. It is one of these schemes, or a list of which one must hold.
Each has `secrets:`, a list of `{env: NAME}` or `{file: PATH}`, all of which are accepted. The proof is checked over the bytes as
they arrived, before they are parsed. A request without a proof gets 401 and is not kept.
"""
_MAPPING_INTRODUCTION: Final = """# Mapping of webhooks and records

Each entry of `events:` whose `when` is true makes one event. Everything but `type` is an expression of
[JMESPath](https://jmespath.org): words in it are quoted like `'this'`, numbers like `` `20` ``. A mistake in an expression is
reported with file, line and column, when the files are read and when a body does not fit.

`events:` of a source of `kind: kafka` maps in the same way. The body then is the whole CloudEvent (`type`, `source`, `subject`, `data` ...),
whose `id` and `time` count if the mapping has no others.

| field | |
|---|---|
| `type` | the type of the event |
| `each` | a list in the body, whose items are mapped one by one; `_body` then is the whole body |
| `when` | the condition; absent: always |
| `id`, `time` | absent: a digest of the body, the time of arrival |
| `email`, `phone`, `crm_id`, `anonymous_id` | the person; at least one |
| `client` | the address of the person's browser, which the [flood guard](../decisions/0047-ends-of-bursts.md) counts; it is not stored |
| `form_fields` | an object of fields with [names that people use](field-names.md) |
| `data` | fields of the person and of the event, each with its expression |

Besides the functions of JMESPath there are:

| function | value |
|---|---|
"""
_FETCH_INTRODUCTION: Final = """
## Thin events

Some vendors only name what happened: the id of a lead, without the person. `fetch:` of a source completes such events:

```yaml
  - id: ads
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, secrets: [{env: ADS_SECRET}]}
    fetch: {base_url: https://api.example.com, path: "/leads/{lead_id}", when: lead_id, id: lead_id, token: {env: ADS_TOKEN}}
    events:
      - {when: _answer.email, type: form.submitted, time: _event.created_at, email: _answer.email}
```

The thin event is stored and the delivery answered. Then the address is read, and the entries of `events:` are tried on
`{"_event": the thin event, "_answer": the answer}`.

| field | |
|---|---|"""
_FETCH_TEXTS: Final = {
    "base_url": "the address of the API; https, or http to this machine",
    "path": "path and query, with expressions over the thin event in braces; each value becomes one segment",
    "version": "the version of the API, for which `{version}` stands in `base_url`, `path` and `headers`",
    "each": "a list in the body, whose items are thin events; absent: the items of a list, or the body",
    "when": "which of them are thin; absent: all. The others are mapped as they are",
    "id": "the id of a thin event: one that is delivered again while it waits is read once",
    "token": "`{env: NAME}` or `{file: PATH}`",
    "token_header": "the header of the token; absent: `Authorization`",
    "token_prefix": "the text before it; absent: `Bearer` and a space",
    "headers": "further headers",
    "retry_when": "an expression over a refusal: it is temporary although its status reads as final",
}
_FETCH_END: Final = """A request has {seconds:g} s and an answer 64 KiB; redirects are not followed. No answer, 408, 425, 429, 5xx and an answer that
is not a JSON object are tried again for {hours} hours, no sooner than `Retry-After` says. Another refusal, and the last try, make a dead
letter of the source, whose retry reads the address again. An answer that cannot be mapped is kept with the letter, so that a
corrected mapping needs no other request. The order of the events of a person is not kept: give `time`, which is that of the thin event.
A host with a private address must be named in `FIRSTHOUR_WEBHOOK_PRIVATE_HOSTS`. `firsthour source try ID --body FILE` shows the
address, and with `--answer FILE` what the answer becomes.
"""


def presets_page() -> str:
    """Return the page of the presets."""
    return "\n".join([_PRESETS_INTRODUCTION, *(line for name in PRESETS for line in _preset(name))])


def _preset(name: str) -> Iterator[str]:
    known = presets.preset(name)
    yield from (f"## {name}", "", _comment(name), "")
    yield "| event | when |"
    yield "|---|---|"
    for entry in known["events"]:
        condition = " ".join(str(entry.get("when", "always")).split()).replace("|", "\\|")
        each = f" (each of `{entry['each']}`)" if "each" in entry else ""
        yield f"| `{entry['type']}` | {f'`{condition}`' if 'when' in entry else condition}{each} |"
    if "fetch" in known:
        fetch = known["fetch"]
        token = (
            f", with the token in `{fetch['token']['env']}`"
            if "token" in fetch
            else ", if the source has `fetch: {token: ...}`"
        )
        yield from ("", f"Thin events are read from `{fetch['base_url']}`, version `{fetch['version']}`{token}.")
    if "calls" in known:
        yield from (f"| `{type}` | {calls} |" for type, calls in segment.meanings())
    elif not known["events"]:
        yield "| those of the sender | `{type, timestamp, data}` |"
    yield ""
    yield f"Verification: {', '.join(dict.fromkeys(_scheme(scheme) for scheme in known['verify']))}."
    yield ""


def _comment(name: str) -> str:
    """Return the comment at the start of the file of a preset."""
    lines = (presets.DIRECTORY / f"{name}.yaml").read_text().splitlines()
    comment = [
        line.removeprefix("#").strip() for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]
    ]
    return _ADDRESS.sub(r"`\1`", "\n".join(comment))


def _scheme(scheme: Mapping[str, Any]) -> str:
    place = scheme.get("header") or scheme.get("key")
    return f"`{scheme['scheme']}`" + (f" in `{place}`" if place else "")


def verification_page() -> str:
    """Return the page of the schemes."""
    lines = [_VERIFICATION_INTRODUCTION]
    for model in get_args(Scheme):
        names = get_args(model.model_fields["scheme"].annotation)
        lines += [f"## {', '.join(names)}", "", " ".join((model.__doc__ or "").split()), ""]
        lines += ["| field | default |", "|---|---|"]
        for name, field in model.model_fields.items():
            if name != "scheme":
                lines.append(f"| `{name}` | {'required' if field.is_required() else _default(field.default)} |")
        lines.append("")
    lines += [
        "`signed` is a text with the names of parts in braces: "
        + ", ".join(f"`{{{part}}}`" for part in SIGNED_PARTS)
        + "."
    ]
    lines += [
        "",
        "`url` is `FIRSTHOUR_PUBLIC_URL` and the path with its query as they were sent; `decoded_url` is the same without",
    ]
    lines += ["percent signs for `:/?@!$'()*,;`; `fields` are names and values of a form, sorted by name.", ""]
    return "\n".join(lines)


def _default(value: object) -> str:
    if isinstance(value, timedelta):
        return f"`{duration_text(value)}`"
    return "" if value is None or value == "" else f"`{value}`"


def mapping_page() -> str:
    """Return the page of mappings."""
    rows = [f"| `{name}` | {function.text} |" for name, function in MAPPING_FUNCTIONS.items()]
    fields = [f"| `{name}` | {_FETCH_TEXTS[name]} |" for name in Fetch.model_fields]
    hours, seconds = GIVE_UP_AFTER // timedelta(hours=1), TIMEOUT_SECONDS
    return "\n".join(
        (
            _MAPPING_INTRODUCTION + "\n".join(rows),
            _FETCH_INTRODUCTION,
            *fields,
            "",
            _FETCH_END.format(hours=hours, seconds=seconds),
        )
    )
