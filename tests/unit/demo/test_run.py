"""The demo runs against a real system with a fast clock, and its table adds up."""

import asyncio
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from firsthour.bootstrap.embedded import System, open_clock, open_system
from firsthour.demo import config as demo_config
from firsthour.demo import people, run
from firsthour.demo.client import DemoError
from firsthour.demo.screen import Screen, table_of
from firsthour.demo.story import DemoStory, Tally
from firsthour.runtime.clock import HostClock
from firsthour.runtime.config.reading import ConfigFiles
from firsthour.runtime.http.client import ASGITransport, AsyncClient
from firsthour.runtime.settings import load
from schemas.events.leads import Score, Trigger
from schemas.events.routes import LeadAssigned, LeadQualified, LeadRecycled, TouchApplied
from services.notifier.channels.inbox import InboxChannel

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef0123456789abcdef"
SPEED = 2_400.0
NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@dataclass
class DemoStage:
    """A running system with the demo's configuration, and the output of the demo."""

    system: System
    clock: HostClock
    client: AsyncClient
    printed: io.StringIO

    async def play(self, length: timedelta, stop: asyncio.Event | None = None) -> Tally:
        return await run.run(
            url="http://demo",
            key=KEY,
            clock=self.clock,
            log=self.system.resources.log,
            team=self.system.resources.config.current.team,
            console=Console(file=self.printed, width=120),
            speed=SPEED,
            length=length,
            seed=1,
            stop=stop,
            client=self.client,
            console_link="http://demo/console/enter/token",
        )


@asynccontextmanager
async def stage(home: Path) -> AsyncIterator[DemoStage]:
    demo_config.furnish(home / "config")
    lock, clock = open_clock(home, SPEED)
    settings = load(config_dir=home / "config", data_dir=home, admin_key=KEY)
    inbox = InboxChannel(lambda message: None)
    system = await open_system(settings, clock, ConfigFiles(home / "config"), {"inbox": inbox}, lock=lock)
    running = asyncio.create_task(system.run())
    async with AsyncClient(transport=ASGITransport(system.app), base_url="http://demo") as client:
        yield DemoStage(system, clock, client, io.StringIO())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await system.close()


async def test_table_of_the_first_hour_adds_up(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        tally = await here.play(timedelta(hours=2.5))
        qualified = await here.system.reads(
            lambda c: c.exec_driver_sql("SELECT count(*) FROM router_leads WHERE submit_at IS NOT NULL").scalar_one()
        )
    assert tally.leads == tally.touched + tally.missed + tally.waiting
    assert tally.touched > 10
    assert 0 <= qualified - (tally.leads + tally.returned) <= 5  # leads with unread records at the end
    assert tally.median_minutes is not None
    assert sum(decided for decided, _ in tally.outcomes.values()) <= tally.touched + tally.missed
    assert all(won <= decided for decided, won in tally.outcomes.values())


async def test_output_without_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        await here.play(timedelta(hours=1))
    output = here.printed.getvalue()
    assert output.index("/console/enter/token") < output.index("asks for a demo")
    assert "goes to" in output
    assert "made up" in output
    assert "firsthour init" in output
    assert "\x1b" not in output


async def test_demo_ends_at_once_when_stopped(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with stage(tmp_path) as here:
        tally = await here.play(timedelta(days=300), stop)
    assert tally == Tally(0, 0, 0, 0, 0, None, 0, {"within the hour": (0, 0), "later": (0, 0)})


async def test_rejected_request_ends_the_demo_with_its_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        config = here.system.resources.config.current.directory
        (config / "sources.yaml").write_text("sources: [{id: other, kind: form, forms: [other]}]\n", encoding="utf-8")
        files = here.system.resources.config
        assert isinstance(files, ConfigFiles)
        assert files.refresh()
        with pytest.raises(DemoError, match=r"/v1/forms/.*404"):
            await here.play(timedelta(hours=2))


def test_screen_shows_the_whole_link_to_the_console() -> None:
    link, printed = f"http://127.0.0.1:8080/console/enter/{'t' * 43}", io.StringIO()
    terminal = Console(file=printed, width=80, height=24, force_terminal=True, color_system=None)
    screen = Screen(terminal, (), SPEED, link)
    screen.start(NINE)
    screen.draw(NINE)
    screen.stop()
    assert link in printed.getvalue()


# --- pure ---------------------------------------------------------------------------------------------------------


def test_odds_fall_six_times_after_an_hour_and_hundred_times_after_a_day() -> None:
    at_once, later = people.odds(timedelta(minutes=59)), people.odds(timedelta(minutes=61))
    next_day = people.odds(timedelta(hours=9))
    assert at_once / later > 6
    assert at_once / next_day >= 100


def test_same_seed_gives_the_same_visitors_with_example_addresses() -> None:
    first, again = ([people.visitor(random.Random(5), n) for n in range(50)] for _ in range(2))
    assert first == again
    assert all(visitor.email.endswith(".example") for visitor in first)


def _story() -> DemoStory:
    return DemoStory({"ana": "Ana Ruiz", "bo": "Bo Lind"}, lambda at, style, words: None)


def _routed(status: str, epoch: int = 1) -> dict[str, object]:
    return {"lead_id": "l1", "version": 1, "at": NINE, "status": status, "was": "new", "epoch": epoch, "by": "system"}


def _qualified() -> LeadQualified:
    score, trigger = Score(50, 50, 50, "B"), Trigger("e", "form.submitted", NINE, "website")
    data = {"line": "all", "urgency": "hot", "submit_at": NINE, "score": score, "trigger": trigger}
    return LeadQualified(**_routed("qualified", 0), **data)  # type: ignore[arg-type]  # keywords in two dicts


@pytest.mark.parametrize(
    ("after", "expected"), [(59, (1, 0, 0)), (60, (1, 0, 0)), (61, (0, 1, 0))], ids=["before", "at", "after"]
)
def test_touch_is_in_time_up_to_the_end_of_the_hour(after: int, expected: tuple[int, int, int]) -> None:
    story, touched_at = _story(), NINE + timedelta(minutes=after)
    story.hear(_qualified())
    data = {"channel": "phone", "answered": True, "touched_at": touched_at, "rep": "ana"}
    story.hear(TouchApplied(**_routed("working"), **data))  # type: ignore[arg-type]  # keywords in two dicts
    tally = story.tally(NINE + timedelta(hours=3))
    assert (tally.touched, tally.missed, tally.waiting) == expected


@pytest.mark.parametrize(("minutes", "waiting"), [(59, 1), (60, 0)])
def test_untouched_lead_waits_until_its_hour_is_over(minutes: int, waiting: int) -> None:
    story = _story()
    story.hear(_qualified())
    tally = story.tally(NINE + timedelta(minutes=minutes))
    assert (tally.waiting, tally.missed) == (waiting, 1 - waiting)


def test_lead_returned_to_marketing_is_counted_apart() -> None:
    story = _story()
    story.hear(_qualified())
    data = {"rep": "ana", "decision_id": "d", "urgency": "hot", "submit_at": NINE, "assigned_at": NINE}
    story.hear(LeadAssigned(**_routed("assigned"), **data))  # type: ignore[arg-type]  # keywords in two dicts
    assert story.open_load("ana") == 1
    story.hear(LeadRecycled(**_routed("nurturing"), kind="reject", reason="not-now"))  # type: ignore[arg-type]  # as above
    tally = story.tally(NINE + timedelta(hours=3))
    assert (tally.leads, tally.returned) == (0, 1)
    assert story.open_load("ana") == 0


def test_table_names_its_figures_as_made_up() -> None:
    printed = io.StringIO()
    Console(file=printed, width=100).print(table_of(_story().tally(NINE)))
    assert "made up" in printed.getvalue()


async def test_printed_key_works_and_is_not_offered_after_the_demo(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as here:
        await here.play(timedelta(minutes=30))
        first, *_, last = here.printed.getvalue().partition("The first hour")
        assert f"Bearer {KEY}" in first
        assert "while this runs" not in last.lower()
        leads = await here.client.get("/v1/leads?status=assigned", headers={"authorization": f"Bearer {KEY}"})
        assert leads.status_code == 200
