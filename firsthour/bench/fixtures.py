"""The input of benchmarks: a configuration, made-up people, their events and requests."""

import hmac
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from ruamel.yaml import YAML

from firsthour.runtime.clock import new_id
from firsthour.runtime.package_files import examples
from firsthour.runtime.storage.records import Row
from schemas.envelope import encode
from schemas.events.base import Facts
from schemas.events.outside import ExternalEvent
from schemas.topics import EVENTS

KEY: Final = "bench-0123456789abcdef0123456789abcdef"
HOOK_SECRET: Final = "of-a-source-that-lives-for-three-minutes"  # noqa: S105
HOOK: Final = "bench"
REPS: Final = 12


# --- configuration --------------------------------------------------------------------------------------------------


def furnish(home: Path, *, ladder: Sequence[Mapping[str, object]] | None = None, reps: int = REPS) -> Path:
    """Write a configuration: the example agreement, a team with capacity for all leads, one signed source. Return `home`."""
    config = home / "config"
    config.mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe")
    agreement = yaml.load((examples() / "agreement.yaml").read_text(encoding="utf-8"))
    agreement["response"].pop("budget", None)  # few reps get all pages of a measurement
    if ladder is not None:
        agreement["response"]["ladder"] = [dict(rung) for rung in ladder]
    for name, content in (("agreement", agreement), ("team", _team(reps)), ("sources", _sources())):
        with (config / f"{name}.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
    (config / "hook.secret").write_text(HOOK_SECRET, encoding="utf-8")
    return home


def _team(count: int) -> dict[str, object]:
    reps: list[dict[str, object]] = [
        {
            "id": f"rep{n}",
            "name": f"Rep {n}",
            "email": f"rep{n}@ourcompany.example",
            "slack": f"U0BENCH{n}",
            "languages": ["en", "fr"],
            "capacity": {"open": 1_000_000},
        }
        for n in range(count)
    ]
    members = [{"rep": rep["id"]} for rep in reps]
    return {"reps": reps, "pools": [{"id": "enterprise", "members": members}, {"id": "growth", "members": members}]}


def _sources() -> dict[str, object]:
    fields = ("name", "title", "phone", "language", "country")
    data = {field: field for field in fields} | {"company.name": "company", "company.employees": "employees"}
    event = {"type": "form.submitted", "id": "id", "email": "email", "data": data | {"form": "form"}}
    verify = {"scheme": "hmac-sha256", "header": "X-Signature", "secrets": [{"file": "hook.secret"}]}
    return {"sources": [{"id": HOOK, "kind": "webhook", "verify": verify, "events": [event]}]}


# --- people and their events ----------------------------------------------------------------------------------------

_FIRST = ("Ada", "Björn", "Chloé", "Deniz", "Emeka", "Farah", "Goran", "Hana", "Imre", "Jonna", "Kofi", "Lucía")
_LAST = ("Almeida", "Brandt", "Costa", "Demir", "Eriksen", "Fofana", "Groot", "Haas", "Ito", "Jansen", "Kovač", "Lind")
_TITLES = ("Head of IT", "VP Engineering", "Director of Operations", "CTO", "Founder", "Head of Procurement")
_PATHS = ("/pricing", "/plans/team", "/docs/install", "/blog/first-hour", "/customers", "/")


def buyer(number: int) -> tuple[str, Facts]:
    """Return the email address and the form fields of a person who qualifies with one form."""
    name = f"{_FIRST[number % 12]} {_LAST[number // 12 % 12]}"
    company = f"firm{number % 4_999}"
    return f"buyer{number}@{company}.example", {
        "name": name,
        "title": _TITLES[number % 6],
        "phone": f"+4930{1_000_000 + number % 8_000_000}",
        "country": "DE",
        "language": "en",
        "company.name": f"{company.title()} Industries GmbH",
        "company.domain": f"{company}.example",
        "company.employees": 100 + number % 800,
        "company.industry": "software",
        "company.country": "DE",
        "utm.source": "newsletter",
        "utm.medium": "email",
        "utm.campaign": "first-hour",
    }


def reader(number: int) -> tuple[str, Facts]:
    """Return the email address and the fields of a person who only views pages and never qualifies."""
    return f"reader{number}@mail{number % 997}.example", {
        "name": f"{_FIRST[number % 12]} {_LAST[number // 12 % 12]}",
        "title": "Student",
        "country": "DE",
        "language": "en",
        "company.name": "University",
        "company.employees": 12_000,
        "company.industry": "education",
        "utm.source": "search",
        "utm.medium": "organic",
        "utm.campaign": "none",
    }


def events(
    count: int, now: datetime, *, readers: int | None, first: int = 0, seed: int = 7, form_interval: int = 5
) -> Iterator[Row]:
    """Yield rows of the `events` topic as the gateway writes them.

    One row in `form_interval` is the form of a new buyer, who is handed over and assigned. The others are page views.

    Args:
        count: the number of rows.
        now: the time at which all events were received.
        readers: the number of people who view the pages. None: each view is by a new person.
        first: the number of the first row.
        seed: the seed of the random choice of readers.
        form_interval: the number of rows from one form to the next.
    """
    chance = random.Random(seed + first)
    for number in range(first, first + count):
        is_form = number % form_interval == 0
        email, person = buyer(number) if is_form else reader(chance.randrange(readers) if readers else number)
        fields: Facts = {"path": _PATHS[number % 6], "referrer": "https://www.ourcompany.example/start"}
        if is_form:
            fields["form"] = "demo-request"
        event = ExternalEvent(
            source="website", source_id=f"s{number}", received_at=now, email=email, person=person, fields=fields
        )
        id, type = new_id(), "form.submitted" if is_form else "page.viewed"
        body = encode(event, id=id, source="urn:firsthour:gateway", time=now, key=email, type=type)
        yield Row(EVENTS, email, id, body)


# --- requests -------------------------------------------------------------------------------------------------------

_json = msgspec.json.Encoder().encode


def hook_request(number: int, **changes: str) -> tuple[str, bytes]:
    """Return the email address of buyer `number`, and a signed webhook with their demo request. `changes`: of its fields."""
    email, person = buyer(number)
    fields = {field: value for field, value in person.items() if "." not in field}
    body = _json(
        fields
        | {"id": f"w{number}", "form": "demo-request", "email": email}
        | {"company": person["company.name"], "employees": person["company.employees"]}
        | changes
    )
    signature = hmac.digest(HOOK_SECRET.encode(), body, "sha256").hex()
    return email, request(f"/hooks/{HOOK}", body, {"X-Signature": signature})


def short_form(number: int) -> dict[str, object]:
    """Return one event in the product's short form."""
    email, person = buyer(number)
    company = {field.removeprefix("company."): value for field, value in person.items() if field.startswith("company.")}
    utm = {field.removeprefix("utm."): value for field, value in person.items() if field.startswith("utm.")}
    fields = {field: value for field, value in person.items() if "." not in field}
    data = fields | {"company": company, "utm": utm, "form": "demo-request", "path": "/pricing"}
    return {"id": f"e{number}", "type": "form.submitted", "email": email, "data": data}


def event_request(number: int) -> bytes:
    """Return a POST with one event."""
    return request("/v1/events", _json(short_form(number)), {"Authorization": f"Bearer {KEY}"})


def batch_request(number: int, size: int) -> bytes:
    """Return a POST with a batch of `size` events."""
    body = _json([short_form(number * size + n) for n in range(size)])
    return request("/v1/events", body, {"Authorization": f"Bearer {KEY}"})


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of an HTTP/1.1 POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
