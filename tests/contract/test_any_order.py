"""I11: the same events and recycles give the same scores, people and totals in any order and on both profiles.

Totals per pool are compared for leads whose routing facts do not change while they wait. A waiting lead is routed by its
latest facts, so its pool may otherwise depend on the arrival of other leads.
HISTORIES: the number of random histories; a few by default.
"""

import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from firsthour.runtime.storage.unit import Unit
from schemas.events.routes import LeadRecycled
from tests.backends import Backends
from tests.contract.systems import OpenedSystem, opened
from tests.story import sample_config

HISTORIES: Final = int(os.environ.get("HISTORIES") or 2)
pytestmark = pytest.mark.timeout(60 + HISTORIES * 30)
PEOPLE: Final = ("email:ann@prospect.example", "phone:+493012345678")
OTHER_IDENTIFIERS: Final = {PEOPLE[0]: ("crm_id:003A", "phone:+493087654321"), PEOPLE[1]: ("anonymous_id:browser",)}
"""The other identifiers of each person. The first event of the person has all of them."""
COUNTED: Final = ("consent.given", "consent.withdrawn", "opportunity.changed", "touch.recorded")
RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "agreement": {
        "scoring": {
            "engagement": {
                "rules": [
                    {
                        "points": 15,
                        "because": "Paper",
                        "on": "content.downloaded",
                        "at_most": {"times": 3, "per": "30d"},
                    },
                    {"points": 40, "because": "Webinar", "on": "webinar.attended"},
                    {
                        "points": 5,
                        "because": "Prices",
                        "on": "page.viewed",
                        "when": {"path": {"starts_with": "/pricing"}},
                    },
                    *[{"points": 7, "because": type, "on": type} for type in COUNTED],
                ]
            }
        },
        "suppress": [{"because": "Pupil", "when": {"custom.school": "Lower"}}],
    }
}
"""Rules on every kind of event, and a rule that names a custom fact."""
DAYS: Final = 60
JSON: Final = {"content-type": "application/json"}
RECYCLE: Final = "recycle"

random_histories = settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target],  # an example takes a second: no shrinking
)


class PersonEvent(NamedTuple):
    """An event of a person, or a recycle of the lead. `minute`: minutes after the beginning."""

    person: str
    minute: int
    type: str
    data: Mapping[str, Any] = {}
    by: str = ""  # the identifier of the event; empty: the first identifier of the person


event_data: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.sampled_from(
    [
        ("content.downloaded", {"content": "paper"}),
        ("content.downloaded", {"content": "paper", "title": "CTO"}),
        ("page.viewed", {"path": "/pricing/eu"}),
        ("page.viewed", {"path": "/"}),
        ("webinar.attended", {"title": "Clerk", "company": {"employees": 400}}),
        ("webinar.attended", {"company": {"employees": 4}}),
        ("form.submitted", {"form": "newsletter", "name": "Ann"}),
        ("lead.updated", {"title": "Head of sales", "country": "CH"}),
        ("consent.given", {}),
        ("consent.withdrawn", {"reason": "asked"}),
        ("opportunity.changed", {"stage": "open"}),
        ("touch.recorded", {"channel": "phone", "answered": True}),
        ("lead.updated", {"custom": {"school": "Lower"}}),
        ("lead.updated", {"custom": {"school": "Upper", "essay": "x" * 1_000}}),
        *[("lead.updated", {"custom": {f"field_{n}_{of}": "y" * 70 for n in range(60)}}) for of in range(4)],
        *[(RECYCLE, {})] * 4,
    ]
)


@st.composite
def histories(draw: st.DrawFn) -> list[PersonEvent]:
    """Draw a history in the order of its times. All times differ."""
    minutes = draw(st.lists(st.integers(1, DAYS * 24 * 60 - 1), unique=True, min_size=6, max_size=18))
    history = []
    for minute in sorted(minutes):
        type, data = draw(event_data)
        person = draw(st.sampled_from(PEOPLE))
        history.append(PersonEvent(person, minute, type, data, draw(st.sampled_from(["", *OTHER_IDENTIFIERS[person]]))))
    return history


@contextmanager
def files(changes: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Path]:
    """Yield a directory with the sample configuration in `config`."""
    with tempfile.TemporaryDirectory() as directory:
        for name in sample_config.TEXTS:
            sample_config.write(Path(directory) / "config", name, (changes or {}).get(name))
        yield Path(directory)


# --- scores and people ------------------------------------------------------------------------------------------------


def test_i11_scores_and_people_do_not_depend_on_order_or_profile(backends: Backends) -> None:
    @random_histories
    @given(histories(), st.randoms(use_true_random=False))
    def holds(history: list[PersonEvent], chance: Any) -> None:
        shuffled = list(history)
        chance.shuffle(shuffled)
        cuts = {n for n in range(len(history)) if chance.random() < 0.3}
        expected = asyncio.run(scores_after(None, history, set(range(len(history)))))
        assert asyncio.run(scores_after(None, shuffled, cuts)) == expected
        assert asyncio.run(scores_after(backends, shuffled, cuts)) == expected
        assert asyncio.run(scores_after(backends, history, set())) == expected

    holds()


async def scores_after(backends: Backends | None, history: Sequence[PersonEvent], cuts: set[int]) -> dict[str, Any]:
    """Return the score of each person after this history. `cuts`: indexes after which all events are handled."""
    with files(RULES) as directory:
        config, only = directory / "config", ("gateway", "scoring")
        async with opened(directory / "data", backends, config=config, only=only) as world:
            begin = world.clock.now - timedelta(days=DAYS)
            identifiers = {person: dict(one.split(":", 1) for one in OTHER_IDENTIFIERS[person]) for person in PEOPLE}
            await post(world, begin, [PersonEvent(person, 0, "email.opened", identifiers[person]) for person in PEOPLE])
            await world.system.settle()
            leads = dict(await world.rows("SELECT identity, lead_id FROM scoring_identities"))
            for n, one in enumerate(history):
                if one.type == RECYCLE:
                    await recycle(world, begin, one, leads[one.person])
                else:
                    await post(world, begin, [one])
                if n in cuts:
                    await world.system.settle()
            await world.system.settle()
            assert dict(await world.rows("SELECT identity, lead_id FROM scoring_identities")) == leads
            return {person: await score_of(world, leads[person]) for person in PEOPLE}


async def post(world: OpenedSystem, begin: datetime, events: Sequence[PersonEvent]) -> None:
    """Post these events in one request."""
    documents = []
    for one in events:
        kind, _, value = (one.by or one.person).partition(":")
        at = (begin + timedelta(minutes=one.minute)).isoformat()
        id = f"{one.person} {one.minute}"
        documents.append({"id": id, "type": one.type, "time": at, kind: value, "data": one.data})
    answer = await world.client.post("/v1/events", content=json.dumps(documents), headers=JSON)
    assert answer.status_code == 202, answer.text


async def recycle(world: OpenedSystem, begin: datetime, one: PersonEvent, lead: str) -> None:
    """Emit the record of the router about a recycled lead."""
    event = LeadRecycled(
        lead_id=lead,
        version=one.minute,
        at=begin + timedelta(minutes=one.minute),
        status="nurturing",
        was="working",
        epoch=1,
        by="system",
        kind="recycle",
        reason="stalled",
    )

    def work(unit: Unit) -> None:
        unit.emit(event, key=lead, id=f"{lead} {one.minute}")

    await world.system.units.run(work)


async def score_of(world: OpenedSystem, lead: str) -> dict[str, Any]:
    """Return score and parts, without values that differ from run to run."""
    score = (await world.client.get(f"/v1/leads/{lead}/score")).json()
    parts = sorted(
        (part["kind"], part["because"], part["at"] or "", part["worth"], part["counted"]) for part in score["parts"]
    )
    numbers = {name: round(score[name], 6) for name in ("fit", "engagement", "total")}
    return {**numbers, "parts": parts, **{name: score[name] for name in ("grade", "suppressed", "kept")}}


# --- opt-outs ---------------------------------------------------------------------------------------------------------

SHARERS: Final = ("ann@prospect.example", "bea@prospect.example")
SHARED: Final = "+493012345678"
BY_SHARED: Final = f"phone:{SHARED}"
"""The identifier of both `SHARERS`."""
OPT_OUTS: Final = ("consent.withdrawn", "email.unsubscribed")


@st.composite
def shared_histories(draw: st.DrawFn) -> list[PersonEvent]:
    """Draw events of people who share a phone. Consent has an address: by phone, it would apply to one of them only."""
    minutes = draw(st.lists(st.integers(1, DAYS * 24 * 60 - 1), unique=True, min_size=3, max_size=9))
    history = []
    for minute in minutes:
        person = f"email:{draw(st.sampled_from(SHARERS))}"
        type = draw(st.sampled_from([*OPT_OUTS, "consent.given", "form.submitted", "touch.recorded", "page.viewed"]))
        by = "" if type == "consent.given" else draw(st.sampled_from(["", BY_SHARED]))
        data = {"form": "demo-request", "channel": "phone", "answered": True, "path": "/"}
        history.append(PersonEvent(person, minute, type, data, by))
    return history


def is_opted_out(person: str, history: Sequence[PersonEvent]) -> bool:
    """Return whether the newest of the opt-outs and consents of this person is an opt-out."""
    types = {one.minute: one.type for one in history if one.by == BY_SHARED or one.person == f"email:{person}"}
    consents = [types[minute] for minute in sorted(types) if types[minute] in {*OPT_OUTS, "consent.given"}]
    return consents[-1:] not in ([], ["consent.given"])


def test_i11_opt_outs_by_a_shared_phone_do_not_depend_on_order_or_profile(backends: Backends) -> None:
    @random_histories
    @given(shared_histories(), st.randoms(use_true_random=False))
    def holds(history: list[PersonEvent], chance: Any) -> None:
        shuffled = list(history)
        chance.shuffle(shuffled)
        expected = {person for person in SHARERS if is_opted_out(person, history)}
        assert asyncio.run(opted_out_after(None, history)) == expected
        assert asyncio.run(opted_out_after(None, shuffled)) == expected
        assert asyncio.run(opted_out_after(backends, shuffled)) == expected

    holds()


async def opted_out_after(backends: Backends | None, history: Sequence[PersonEvent]) -> set[str]:
    """Return the addresses of the people who are opted out after this history."""
    with files() as directory:
        async with opened(directory / "data", backends, config=directory / "config") as world:
            begin = world.clock.now - timedelta(days=DAYS)
            await post(
                world,
                begin,
                [PersonEvent(f"email:{person}", 0, "email.opened", {"phone": SHARED}) for person in SHARERS],
            )
            for one in history:
                await world.system.settle()
                await post(world, begin, [one])
            await world.system.settle()
            leads = (await world.client.get("/v1/leads")).json()["items"]
            assert sorted(lead["email"] for lead in leads) == sorted(SHARERS)
            return {lead["email"] for lead in leads if lead["status"] == "opted-out"}


# --- totals, owners, statuses -----------------------------------------------------------------------------------------

BUYERS: Final = tuple(f"buyer{n}@prospect.example" for n in range(4))
TWO_POOLS: Final[Mapping[str, Mapping[str, Any]]] = {
    "agreement": {
        "routing": {
            "rules": [
                {"name": "Came back", "when": {"previous_owner": {"exists": True}}, "to": "previous_owner"},
                {"name": "Large", "when": {"company.employees": {"gte": 500}}, "pool": "large"},
                {"name": "Everyone", "pool": "everyone"},
            ]
        }
    },
    "team": {
        "pools": [
            {"id": "everyone", "members": [{"rep": "ana"}, {"rep": "bo"}]},
            {"id": "large", "members": [{"rep": "bo"}, {"rep": "cy"}]},
        ]
    },
}
STEPS: Final = (
    "asks",
    "large company asks",
    "reads",
    "is reached",
    "goes back",
    "leaves",
    "comes back",
    "buys",
    "is lost",
)
steps = st.sampled_from([*STEPS, *(f"{step}, a day late" for step in STEPS if step not in {"is reached", "goes back"})])
step_lists = st.fixed_dictionaries({buyer: st.lists(steps, min_size=1, max_size=4) for buyer in BUYERS})


def test_i11_owners_and_totals_do_not_depend_on_the_profile(backends: Backends) -> None:
    @random_histories
    @given(step_lists, st.randoms(use_true_random=False))
    def holds(steps_of: Mapping[str, list[str]], chance: Any) -> None:
        one, other = interleaved(steps_of, chance), interleaved(steps_of, chance)
        expected = asyncio.run(state_after(None, one))
        assert asyncio.run(state_after(backends, one)) == expected, "owners and statuses, in the same order"
        assert asyncio.run(state_after(None, other))["pools"] == expected["pools"], "totals, in another order"
        assert asyncio.run(state_after(backends, other))["pools"] == expected["pools"]

    holds()


def interleaved(steps_of: Mapping[str, list[str]], chance: Any) -> list[tuple[str, str]]:
    """Return the steps of all buyers. Each buyer's steps keep their order."""
    turns = [buyer for buyer, own_steps in steps_of.items() for _ in own_steps]
    chance.shuffle(turns)
    remaining = {buyer: iter(own_steps) for buyer, own_steps in steps_of.items()}
    return [(buyer, next(remaining[buyer])) for buyer in turns]


async def state_after(backends: Backends | None, steps: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return leads and totals per pool, after each step was handled before the next."""
    with files(TWO_POOLS) as directory:
        async with opened(directory / "data", backends, config=directory / "config") as world:
            for n, (buyer, step) in enumerate(steps):
                world.clock.advance(seconds=1)
                await take(world, n, buyer, step)
                await world.system.settle()
            leads = (await world.client.get("/v1/leads", params={"limit": "500"})).json()["items"]
            by_email = {lead["email"]: (lead["status"], lead["owner"], lead["epoch"], lead["score"]) for lead in leads}
            pools = Counter(await world.rows("SELECT rule, pool FROM router_assignments"))
            return {"leads": by_email, "pools": pools}


async def take(world: OpenedSystem, n: int, buyer: str, step: str) -> None:
    """Make one step. An action that the agreement does not allow at that time is refused."""
    step, late, _ = step.partition(", a day late")
    employees = {"company": {"employees": 900 if step == "large company asks" else 90}}
    events = {
        "asks": ("form.submitted", {"form": "demo-request", **employees}),
        "large company asks": ("form.submitted", {"form": "demo-request", **employees}),
        "reads": ("content.downloaded", {}),
        "leaves": ("consent.withdrawn", {}),
        "comes back": ("consent.given", {}),
        "buys": ("opportunity.changed", {"stage": "won"}),
        "is lost": ("opportunity.changed", {"stage": "lost"}),
    }
    if step in events:
        type, data = events[step]
        at = (world.clock.now - timedelta(days=1 if late else 0)).isoformat()
        event = {"id": str(n), "type": type, "email": buyer, "time": at, "data": data}
        assert (await world.client.post("/v1/events", json=event)).status_code == 202
        return
    leads = (await world.client.get("/v1/leads", params={"email": buyer})).json()["items"]
    action = {"is reached": "touch", "goes back": "recycle"}[step]
    body = {"channel": "phone", "answered": True} if action == "touch" else {"reason": "stalled"}
    for lead in leads:
        answer = await world.client.post(f"/v1/leads/{lead['id']}/{action}", json=body)
        assert answer.status_code in (200, 409), answer.text
