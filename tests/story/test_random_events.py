"""Random events: no accepted event becomes a dead letter or stops a reader."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from schemas.events.outside import OUTSIDE_TYPES
from tests.backends import Backends
from tests.examples import examples
from tests.fakes.pages import ATTACKS
from tests.story.installation import ADMIN
from tests.story.world import World

pytestmark = pytest.mark.slow

BATCHES: Final = 15
NAMES: Final = (
    *(
        "name",
        "first_name",
        "title",
        "phone",
        "language",
        "country",
        "consent",
        "company",
        "utm",
        "custom",
        "employees",
    ),
    *("company.employees", "company.revenue", "company.domain", "utm.source", "custom.x", "form", "path", "content"),
    *("channel", "answered", "rep", "rep_email", "stage", "amount", "currency", "opportunity_id", "reason", "link"),
    *("email", "crm_id", "anonymous_id", "status", "owner", "fit", "total", "grade", "account.owner", "previous_owner"),
    *("", " ", "a b", "é", "__proto__", "x" * 300, "a.b.c.d.e.f", "company.", "~/", "'; DROP TABLE log;--"),
)
EDGES: Final = (
    0,
    -1,
    2**53,
    -(2**53),
    1e308,
    -1e308,
    5e-324,
    True,
    False,
    None,
    "",
    " ",
    "\u0000",
    "\ud800",
    "NaN",
    "٣",
)
scalars = (
    st.sampled_from([*EDGES, *ATTACKS, "demo-request", "won", "lost", "DE", "+493012345678", "ana", "ana@acme.example"])
    | st.text(max_size=20)
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
people = st.sampled_from([{"email": f"person{n}@prospect.example"} for n in range(3)]) | st.sampled_from(
    [{"phone": "+493012345678"}, {"crm_id": "1\u0000"}, {"anonymous_id": "x" * 500}, {"email": "ünï@exämple.example"}]
)
times = st.none() | st.sampled_from(
    ["2026-12-01T08:59:00Z", "2019-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", 1764579600]
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event that a faulty or hostile program may send."""
    time = draw(times)
    return {
        "id": draw(st.text(min_size=1, max_size=5)),
        "type": draw(st.sampled_from([*OUTSIDE_TYPES, "custom.thing"])),
        **draw(people),
        "data": draw(st.dictionaries(st.sampled_from(NAMES), values, max_size=6)),
        **({} if time is None else {"time": time}),
    }


@pytest.mark.both_profiles
def test_every_accepted_event_is_handled(profile: Backends | None) -> None:
    @settings(
        max_examples=examples(BATCHES) if profile is None else max(2, examples(BATCHES) * 2 // 5),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.lists(events(), min_size=1, max_size=15), min_size=1, max_size=4))
    def check(batches: list[list[dict[str, Any]]]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(story(World(Path(directory), backends=profile), batches))

    check()


async def story(closed: World, batches: list[list[dict[str, Any]]]) -> None:
    """Send all batches to a new installation."""
    async with await closed.open() as world:
        for batch in batches:
            await post_each(world, batch)
            await world.wait(minutes=7)
        assert await world.rows("SELECT consumer, error FROM dead_letters WHERE consumer <> 'gateway'") == []
        assert all(state == "ok" for state in (await world.get("/readyz"))["checks"].values())
        for lead in await world.leads():
            for listing in ("timeline", "decisions"):
                assert (await world.ask("GET", f"/v1/leads/{lead['id']}/{listing}")).status_code == 200
            assert (await world.ask("GET", f"/v1/leads/{lead['id']}/score")).status_code == 200
        await world.get("/v1/pages?limit=200")
        await world.verify()


async def post_each(world: World, batch: list[dict[str, Any]]) -> None:
    """Send each event alone, so that a rejected one does not reject the others."""
    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    for event in batch:
        answer = await world.http.post("/v1/events", content=json.dumps(event), headers=headers)
        assert answer.status_code in (202, 422), answer.text
    await world.settle()
