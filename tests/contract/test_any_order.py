"""I11: the same events and recycles lead to the same scores, people and totals in any order and on both profiles.

Totals per pool as long as what routing reads of a lead stays the same while it waits for a full pool: who waits is routed
anew by the latest facts, so in which pool they find room hangs on when others came.
FIRSTHOUR_HISTORIES says how many random histories are tried; a few by default.
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

HISTORIES: Final = int(os.environ.get("FIRSTHOUR_HISTORIES") or 4)
pytestmark = pytest.mark.timeout(60 + HISTORIES * 30)
PEOPLE: Final = ("email:ann@prospect.example", "phone:+493012345678")
ALSO: Final = {PEOPLE[0]: ("crm_id:003A", "phone:+493087654321"), PEOPLE[1]: ("anonymous_id:browser",)}
"""The other identifiers of each person, who came with all of them."""
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
"""Rules on every kind of event, and one that names a custom fact."""
DAYS: Final = 60
JSON: Final = {"content-type": "application/json"}
RECYCLE: Final = "recycle"

random_histories = settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.target],  # each try is a second: better seen than shrunk
)


class Happened(NamedTuple):
    """What somebody did, so many minutes after the beginning; or their lead was recycled."""

    person: str
    minute: int
    type: str
    data: Mapping[str, Any] = {}
    by: str = ""  # the identifier it came with; empty: the person's first one


whats: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.sampled_from(
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
def histories(draw: st.DrawFn) -> list[Happened]:
    """What happened, in the order in which it happened; no two things at the same moment."""
    minutes = draw(st.lists(st.integers(1, DAYS * 24 * 60 - 1), unique=True, min_size=6, max_size=18))
    made = []
    for minute in sorted(minutes):
        type, data = draw(whats)
        person = draw(st.sampled_from(PEOPLE))
        made.append(Happened(person, minute, type, data, draw(st.sampled_from(["", *ALSO[person]]))))
    return made


@contextmanager
def files(changes: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Path]:
    """A directory, with the usual configuration in `config`."""
    with tempfile.TemporaryDirectory() as directory:
        for name in sample_config.TEXTS:
            sample_config.write(Path(directory) / "config", name, (changes or {}).get(name))
        yield Path(directory)


# --- scores and people ------------------------------------------------------------------------------------------------


def test_i11_scores_and_people_are_the_same_in_any_order_and_on_both_profiles(backends: Backends) -> None:
    @random_histories
    @given(histories(), st.randoms(use_true_random=False))
    def holds(history: list[Happened], chance: Any) -> None:
        shuffled = list(history)
        chance.shuffle(shuffled)
        cuts = {n for n in range(len(history)) if chance.random() < 0.3}
        expected = asyncio.run(scored(None, history, set(range(len(history)))))
        assert asyncio.run(scored(None, shuffled, cuts)) == expected
        assert asyncio.run(scored(backends, shuffled, cuts)) == expected
        assert asyncio.run(scored(backends, history, set())) == expected

    holds()


async def scored(backends: Backends | None, history: Sequence[Happened], cuts: set[int]) -> dict[str, Any]:
    """The score of each person, when all of this has been delivered in this order. `cuts`: after which it is handled."""
    with files(RULES) as directory:
        config, only = directory / "config", ("gateway", "scoring")
        async with opened(directory / "data", backends, config=config, only=only) as world:
            begin = world.clock.now - timedelta(days=DAYS)
            also = {person: dict(one.split(":", 1) for one in ALSO[person]) for person in PEOPLE}
            await post(world, begin, [Happened(person, 0, "email.opened", also[person]) for person in PEOPLE])
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


async def post(world: OpenedSystem, begin: datetime, told: Sequence[Happened]) -> None:
    """A program posts these."""
    sent = []
    for one in told:
        kind, _, value = (one.by or one.person).partition(":")
        at = (begin + timedelta(minutes=one.minute)).isoformat()
        id = f"{one.person} {one.minute}"
        sent.append({"id": id, "type": one.type, "time": at, kind: value, "data": one.data})
    answer = await world.client.post("/v1/events", content=json.dumps(sent), headers=JSON)
    assert answer.status_code == 202, answer.text


async def recycle(world: OpenedSystem, begin: datetime, one: Happened, lead: str) -> None:
    """The router says that the lead went back with Marketing."""
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
    """Score and parts, without what differs from run to run."""
    told = (await world.client.get(f"/v1/leads/{lead}/score")).json()
    parts = sorted(
        (part["kind"], part["because"], part["at"] or "", part["worth"], part["counted"]) for part in told["parts"]
    )
    numbers = {name: round(told[name], 6) for name in ("fit", "engagement", "total")}
    return {**numbers, "parts": parts, **{name: told[name] for name in ("grade", "suppressed", "kept")}}


# --- opt-outs ---------------------------------------------------------------------------------------------------------

SHARERS: Final = ("ann@prospect.example", "bea@prospect.example")
SHARED: Final = "+493012345678"
BY_SHARED: Final = f"phone:{SHARED}"
"""The identifier that both of `SHARERS` came with."""
LEAVES: Final = ("consent.withdrawn", "email.unsubscribed")


@st.composite
def shared_histories(draw: st.DrawFn) -> list[Happened]:
    """Events of people who share a phone. Consent is given by address: by the phone, one of them alone would give it."""
    minutes = draw(st.lists(st.integers(1, DAYS * 24 * 60 - 1), unique=True, min_size=3, max_size=9))
    made = []
    for minute in minutes:
        person = f"email:{draw(st.sampled_from(SHARERS))}"
        type = draw(st.sampled_from([*LEAVES, "consent.given", "form.submitted", "touch.recorded", "page.viewed"]))
        by = "" if type == "consent.given" else draw(st.sampled_from(["", BY_SHARED]))
        data = {"form": "demo-request", "channel": "phone", "answered": True, "path": "/"}
        made.append(Happened(person, minute, type, data, by))
    return made


def has_left(person: str, history: Sequence[Happened]) -> bool:
    """The newest of this person's opt-outs and consents is an opt-out."""
    about = {one.minute: one.type for one in history if one.by == BY_SHARED or one.person == f"email:{person}"}
    consents = [about[minute] for minute in sorted(about) if about[minute] in {*LEAVES, "consent.given"}]
    return consents[-1:] not in ([], ["consent.given"])


def test_i11_opt_outs_by_a_shared_phone_hold_in_any_order_and_on_both_profiles(backends: Backends) -> None:
    @random_histories
    @given(shared_histories(), st.randoms(use_true_random=False))
    def holds(history: list[Happened], chance: Any) -> None:
        shuffled = list(history)
        chance.shuffle(shuffled)
        expected = {person for person in SHARERS if has_left(person, history)}
        assert asyncio.run(left(None, history)) == expected
        assert asyncio.run(left(None, shuffled)) == expected
        assert asyncio.run(left(backends, shuffled)) == expected

    holds()


async def left(backends: Backends | None, history: Sequence[Happened]) -> set[str]:
    """The people who have opted out when all of this has been delivered in this order."""
    with files() as directory:
        async with opened(directory / "data", backends, config=directory / "config") as world:
            begin = world.clock.now - timedelta(days=DAYS)
            await post(
                world, begin, [Happened(f"email:{person}", 0, "email.opened", {"phone": SHARED}) for person in SHARERS]
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
    "asks as a large one",
    "reads",
    "is reached",
    "goes back",
    "leaves",
    "comes back",
    "buys",
    "is lost",
)
steps = st.sampled_from(
    [*STEPS, *(f"{step}, told a day late" for step in STEPS if step not in {"is reached", "goes back"})]
)
lives = st.fixed_dictionaries({buyer: st.lists(steps, min_size=1, max_size=4) for buyer in BUYERS})


def test_i11_totals_and_owners_are_the_same_on_both_profiles(backends: Backends) -> None:
    @random_histories
    @given(lives, st.randoms(use_true_random=False))
    def holds(lived: Mapping[str, list[str]], chance: Any) -> None:
        one, other = mixed(lived, chance), mixed(lived, chance)
        expected = asyncio.run(ended(None, one))
        assert asyncio.run(ended(backends, one)) == expected, "owners and statuses, in the same order"
        assert asyncio.run(ended(None, other))["pools"] == expected["pools"], "totals, in another order"
        assert asyncio.run(ended(backends, other))["pools"] == expected["pools"]

    holds()


def mixed(lived: Mapping[str, list[str]], chance: Any) -> list[tuple[str, str]]:
    """Everybody's steps in their order, and among each other in any."""
    turns = [buyer for buyer, told in lived.items() for _ in told]
    chance.shuffle(turns)
    left = {buyer: iter(told) for buyer, told in lived.items()}
    return [(buyer, next(left[buyer])) for buyer in turns]


async def ended(backends: Backends | None, told: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How it ends when each step is taken after the one before has had its effects."""
    with files(TWO_POOLS) as directory:
        async with opened(directory / "data", backends, config=directory / "config") as world:
            for n, (buyer, step) in enumerate(told):
                world.clock.advance(seconds=1)
                await take(world, n, buyer, step)
                await world.system.settle()
            leads = (await world.client.get("/v1/leads", params={"limit": "500"})).json()["items"]
            told_of = {lead["email"]: (lead["status"], lead["owner"], lead["epoch"], lead["score"]) for lead in leads}
            pools = Counter(await world.rows("SELECT rule, pool FROM router_assignments"))
            return {"leads": told_of, "pools": pools}


async def take(world: OpenedSystem, n: int, buyer: str, step: str) -> None:
    """One step of somebody's life. What the agreement does not allow at that moment is refused, which is fine."""
    step, late, _ = step.partition(", told a day late")
    employees = {"company": {"employees": 900 if step.endswith("large one") else 90}}
    events = {
        "asks": ("form.submitted", {"form": "demo-request", **employees}),
        "asks as a large one": ("form.submitted", {"form": "demo-request", **employees}),
        "reads": ("content.downloaded", {}),
        "leaves": ("consent.withdrawn", {}),
        "comes back": ("consent.given", {}),
        "buys": ("opportunity.changed", {"stage": "won"}),
        "is lost": ("opportunity.changed", {"stage": "lost"}),
    }
    if step in events:
        type, data = events[step]
        at = (world.clock.now - timedelta(days=1 if late else 0)).isoformat()
        sent = {"id": str(n), "type": type, "email": buyer, "time": at, "data": data}
        assert (await world.client.post("/v1/events", json=sent)).status_code == 202
        return
    found = (await world.client.get("/v1/leads", params={"email": buyer})).json()["items"]
    action = {"is reached": "touch", "goes back": "recycle"}[step]
    body = {"channel": "phone", "answered": True} if action == "touch" else {"reason": "stalled"}
    for lead in found:
        answer = await world.client.post(f"/v1/leads/{lead['id']}/{action}", json=body)
        assert answer.status_code in (200, 409), answer.text
