"""The console in a real browser, from signing in to a result, as a rep on a phone, a manager, a marketer and an operator."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests.e2e.processes import ADMIN, ROOT, ProcessInstallation, environment, until
from tests.e2e.served import ServedInstallation, served
from tests.shared import named

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]  # that of the browser
ADMIN_NAME = "given"  # the key of the settings
PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 900}
ROUTED_SECONDS = 20.0
DATABASE = named("walked")
WALL: ViewportSize = {"width": 3840, "height": 2160}
DROP: Final = """([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    document.querySelector("form[data-drop]").dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
}"""
"""Drops a file on the form of a draft."""


WalkedInstallation = ProcessInstallation | ServedInstallation


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let one walk of each kind of user go over both profiles: pages, styles and scripts are the same there."""
    if "installation" in metafunc.fixturenames:
        both = metafunc.definition.get_closest_marker("both_profiles")
        profiles = ["embedded", "distributed"] if both else ["embedded"]
        metafunc.parametrize("installation", profiles, indirect=True, scope="module")


@pytest.fixture(scope="module")
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WalkedInstallation]:
    """Return a running installation with the example files, on the profile of the parameter."""
    if request.param == "embedded":
        yield request.getfixturevalue("example_installation")
        return
    directory = tmp_path_factory.mktemp("console")
    config = directory / "config"
    command = [sys.executable, "-m", "firsthour", "init", str(config)]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    postgres: PostgresServer = request.getfixturevalue("postgres")
    kafka: KafkaCluster = request.getfixturevalue("kafka")
    postgres.drop(DATABASE)
    with served(directory / "served", config, postgres.create(DATABASE), kafka.bootstrap) as two:
        yield two
    postgres.drop(DATABASE)


@dataclass
class ConsoleWalk:
    """One person in a browser. `complaints`: what the browser reports, such as violations of the policy.

    `examined`: whether pages are examined for accessibility and width, which one profile does for both.
    """

    context: BrowserContext
    page: Page
    url: str
    examined: bool
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def accessible(self) -> None:
        """Check the page with axe in light and dark colours."""
        if not self.examined:
            return
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=scheme)
            found = (await Axe().run(self.page)).response["violations"]
            assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == [], scheme

    async def fits(self) -> None:
        """Check that nothing but tables in their own frames is wider than the window."""
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert not self.examined or await self.page.evaluate(wider) <= 0


@asynccontextmanager
async def invited(
    browser: Browser, installation: WalkedInstallation, role: str, rep: str | None = None, size: ViewportSize = DESK
) -> AsyncIterator[ConsoleWalk]:
    """Open the page of a one-time link."""
    context = await browser.new_context(viewport=size, timezone_id="Europe/Berlin", has_touch=size == PHONE)
    page = await context.new_page()
    one = ConsoleWalk(context, page, installation.url, examined=isinstance(installation, ProcessInstallation))
    page.on("console", lambda message: one.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: one.complaints.append(str(error)))
    link = httpx.post(
        f"{installation.url}/v1/console-links",
        json={"role": role, "rep": rep},
        headers={"authorization": f"Bearer {ADMIN}"},
        trust_env=False,
    ).json()["url"]
    await page.goto(re.sub(r"^https?://[^/]+", installation.url, link))
    yield one
    await context.close()
    assert one.complaints == []


@asynccontextmanager
async def walk(
    browser: Browser, installation: WalkedInstallation, role: str, rep: str | None = None, size: ViewportSize = DESK
) -> AsyncIterator[ConsoleWalk]:
    """Sign a person in by a one-time link."""
    async with invited(browser, installation, role, rep, size) as one:
        await one.page.get_by_role("button", name="Open the console").click()
        yield one


def submit(installation: WalkedInstallation, number: int, name: str) -> str:
    """Submit a form as a prospect does, and return the owner of the lead once it has one."""
    email = f"person@firm-{number}.example"
    fields = {
        "email": email,
        "name": name,
        "company": f"Firm {number}",
        "title": "Head of Operations",
        "employees": "400",
    }
    httpx.post(f"{installation.url}/v1/forms/demo-request", data=fields, trust_env=False).raise_for_status()
    until(lambda: bool(lead_of(installation, email).get("owner")), ROUTED_SECONDS, "the lead has an owner")
    return str(lead_of(installation, email)["owner"]["id"])


def lead_of(installation: WalkedInstallation, email: str) -> dict[str, Any]:
    """Return a lead; empty while it is unknown."""
    items = installation.get(f"/v1/leads?email={email}")["items"]
    return dict(items[0]) if items else {}


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_page_of_a_link_fits_and_is_accessible(
    browser: Browser, installation: WalkedInstallation, size: ViewportSize
) -> None:
    async with invited(browser, installation, "manager", size=size) as manager:
        await manager.fits()
        await manager.accessible()


@pytest.mark.both_profiles
async def test_rep_on_a_phone_records_a_conversation(browser: Browser, installation: WalkedInstallation) -> None:
    owner = submit(installation, 1, "Rosa Lind")
    async with walk(browser, installation, "sales", owner, PHONE) as rep:
        card = rep.page.get_by_role("article").filter(has_text="Rosa Lind")
        await card.wait_for()
        assert re.search(r"\d+:\d\d left", await card.inner_text())
        await rep.fits()
        await rep.accessible()
        await card.get_by_role("button", name="Reached").tap()
        await rep.page.get_by_text("The contact is recorded.").wait_for()
        assert await rep.page.evaluate("document.activeElement.textContent") == "The contact is recorded."
        await card.get_by_role("link", name="Rosa Lind").tap()
        await rep.page.get_by_text("working").first.wait_for()
        await rep.fits()
        await rep.accessible()


async def test_tap_during_a_lost_connection_takes_effect_once(
    browser: Browser, installation: WalkedInstallation
) -> None:
    owner = submit(installation, 2, "Otto Frey")
    async with walk(browser, installation, "sales", owner, PHONE) as rep:
        card = rep.page.get_by_role("article").filter(has_text="Otto Frey")
        await card.wait_for()
        await rep.context.set_offline(True)
        await card.get_by_role("button", name="No answer").tap()
        await rep.page.get_by_text("The connection is lost.").wait_for()
        await rep.context.set_offline(False)
        await rep.page.get_by_text("The contact is recorded.").wait_for()
        assert not await rep.page.get_by_text("The connection is lost.").is_visible()
        rep.complaints.clear()  # the browser reports each request that failed
    until(
        lambda: lead_of(installation, "person@firm-2.example")["touches"]["attempts"] == 1,
        ROUTED_SECONDS,
        "one attempt",
    )


@pytest.mark.both_profiles
async def test_two_managers_see_a_new_lead_at_once(browser: Browser, installation: WalkedInstallation) -> None:
    async with (
        walk(browser, installation, "manager") as one,
        walk(browser, installation, "manager", size=WALL) as other,
    ):
        await one.open("/console/now")
        await other.open("/console/now?wall=true")
        submit(installation, 3, "Mina Sol")
        for viewer in (one, other):
            await viewer.page.get_by_role("link", name="Mina Sol").first.wait_for()
            await viewer.fits()
            await viewer.accessible()


async def test_manager_gives_a_lead_to_another_rep(browser: Browser, installation: WalkedInstallation) -> None:
    owner = submit(installation, 4, "Ines Roth")
    async with walk(browser, installation, "manager") as manager:
        await manager.open("/console/leads")
        await manager.page.get_by_role("link", name="Ines Roth").click()
        await manager.page.get_by_text("Assign", exact=True).first.click()
        choice = manager.page.locator("select[name=rep]")
        name = (await choice.locator("option").first.inner_text()).strip()
        await manager.page.get_by_role("button", name="Assign", exact=True).click()
        await manager.page.get_by_text("The lead has another owner.").wait_for()
        await manager.accessible()
    email = "person@firm-4.example"
    until(lambda: lead_of(installation, email)["owner"]["name"] == name, ROUTED_SECONDS, "the other rep owns the lead")
    assert lead_of(installation, email)["owner"]["id"] != owner


@pytest.mark.both_profiles
async def test_marketer_reads_how_a_lead_scored(browser: Browser, installation: WalkedInstallation) -> None:
    submit(installation, 5, "Nora Dahl")
    async with walk(browser, installation, "marketing") as marketer:
        await marketer.open("/console/leads?email=person@firm-5.example")
        await marketer.accessible()
        await marketer.page.get_by_role("link", name="Nora Dahl").click()
        await marketer.page.get_by_role("heading", name=re.compile("Score")).wait_for()
        assert await marketer.page.get_by_role("button", name="Reached").count() == 0


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_manager_sets_a_rep_away_by_keyboard_and_another_sees_it(
    browser: Browser, installation: WalkedInstallation, size: ViewportSize
) -> None:
    async with (
        walk(browser, installation, "manager", size=size) as manager,
        walk(browser, installation, "admin") as other,
    ):
        for viewer in (manager, other):
            await viewer.open("/console/team?q=tom")
            await viewer.accessible()
            await viewer.fits()
        tom, seen = (viewer.page.get_by_role("article").filter(has_text="Tom Okoye") for viewer in (manager, other))
        await tom.get_by_role("link", name="Set away").focus()
        await manager.page.keyboard.press("Enter")
        await manager.page.get_by_label("Reason").focus()
        await manager.page.keyboard.type("At the dentist")
        await manager.accessible()
        await manager.fits()
        await manager.page.keyboard.press("Enter")
        await manager.page.get_by_text("gets no new leads until set back").wait_for()
        await seen.get_by_text("At the dentist").wait_for()
        await tom.get_by_role("link", name="Set back").focus()
        await manager.page.keyboard.press("Enter")
        await manager.page.get_by_role("button", name="Set back").focus()
        await manager.page.keyboard.press("Enter")
        await manager.page.get_by_text("gets new leads again").wait_for()
        await seen.get_by_text("on duty").wait_for()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_marketer_reads_the_agreement_and_checks_a_draft(
    browser: Browser, installation: WalkedInstallation, tmp_path: Path, size: ViewportSize
) -> None:
    text = (ROOT / "deploy/examples/agreement.yaml").read_text()
    (tmp_path / "agreement.yaml").write_text(text.replace("pool: growth", "pool: growht"))
    async with walk(browser, installation, "marketing", size=size) as marketer:
        page = marketer.page
        await marketer.open("/console/agreement")
        await page.get_by_role("img", name=re.compile("10 statuses by the team")).wait_for()
        await page.get_by_text("Statuses and ways as a table").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("cell", name="any status").wait_for()
        await marketer.accessible()
        await marketer.fits()
        await page.get_by_role("link", name="Check a draft").focus()
        await page.keyboard.press("Enter")
        await page.locator("input[type=file]").set_input_files(tmp_path / "agreement.yaml")
        await page.wait_for_function("document.querySelector('textarea').value.includes('growht')")
        await page.get_by_role("button", name="Check").focus()
        await page.keyboard.press("Enter")
        await page.get_by_text("2 mistakes. Nothing was changed.").wait_for()
        await page.get_by_text("did you mean `growth`?").first.wait_for()
        await marketer.accessible()
        await marketer.fits()
        await page.evaluate(DROP, ["team.yaml", "reps: ["])
        await page.wait_for_function("document.querySelector('textarea').value === 'reps: ['")
        await page.get_by_role("button", name="Check").click()
        await page.get_by_text(re.compile(r"team\.yaml:1:\d")).wait_for()


async def test_operator_ends_a_session(browser: Browser, installation: WalkedInstallation) -> None:
    async with walk(browser, installation, "manager") as other, walk(browser, installation, "admin") as operator:
        await operator.open("/console/sessions")
        await operator.accessible()
        for _ in range(await operator.page.get_by_role("row").filter(has_text="manager").count()):
            row = operator.page.get_by_role("row").filter(has_text="manager").first
            await row.get_by_role("button", name="End").click()
            await operator.page.wait_for_load_state()
        assert {session["role"] for session in installation.get("/v1/sessions")["items"]} >= {"admin"}
        await other.open("/console/now")
        await other.page.get_by_role("heading", name="Sign in").wait_for()
        assert [line for line in other.complaints if "403" not in line] == []
        other.complaints.clear()  # the browser reports the answer 403


OPERATIONS = ("", "/dead-letters", "/pages", "/webhooks", "/quarantine", "/doctor", "/keys", "/audit")


@pytest.mark.both_profiles
async def test_operator_sees_the_state_and_mends_a_dead_letter(
    browser: Browser, installation: WalkedInstallation
) -> None:
    body = {"id": "walk-1", "type": "form.submitted", "data": {"form": "demo-request"}}
    for number in range(3):
        refused = httpx.post(
            f"{installation.url}/v1/events",
            json={**body, "id": f"walk-{number}"},
            headers={"authorization": f"Bearer {ADMIN}"},
            trust_env=False,
        )
        assert refused.status_code == 422
    async with walk(browser, installation, "admin") as operator:
        page = operator.page
        await page.get_by_role("link", name="Operations").click()
        await page.get_by_text("ready", exact=True).wait_for()
        await page.get_by_role("link", name="Dead letters").press("Enter")
        await page.get_by_role("row").nth(1).get_by_role("link").click()
        await operator.accessible()
        corrected = {**body, "email": "walker@firm-9.example", "data": {"form": "demo-request"}}
        await page.get_by_role("textbox", name="Body").fill(json.dumps(corrected))
        await page.get_by_role("button", name="Retry").press("Enter")
        await page.get_by_text("The dead letter is handled.").wait_for()
        await page.get_by_role("button", name=ADMIN_NAME, exact=True).first.click()
        await page.get_by_text("All dead letters of the source were tried.").wait_for()
        await operator.accessible()
        await page.get_by_role("link", name="Doctor").click()
        await page.get_by_role("button", name="Examine now").click()
        await page.get_by_text("Examined at").wait_for()
        await operator.accessible()
        operator.complaints.clear()  # the browser reports the answer 422


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
async def test_pages_of_operations_and_reports_fit_and_are_accessible(
    browser: Browser, installation: WalkedInstallation, size: ViewportSize
) -> None:
    submit(installation, 10 + len(str(size["width"])), "Lia Berg")
    async with walk(browser, installation, "admin", size=size) as operator:
        for path in (*(f"/operations{tab}" for tab in OPERATIONS), "/now", "/funnel", "/response"):
            await operator.open(f"/console{path}")
            await operator.page.get_by_text("Figures of").wait_for()
            await operator.fits()
            await operator.accessible()


async def test_page_says_since_when_its_figures_are_when_the_connection_is_lost(
    browser: Browser, installation: WalkedInstallation
) -> None:
    async with walk(browser, installation, "manager") as manager:
        await manager.open("/console/now")
        # With seconds, the time is that of the stream: what arrives later would prove the connection.
        await manager.page.get_by_text(re.compile(r"Figures of \d\d:\d\d:\d\d")).wait_for()
        await manager.context.set_offline(True)
        await manager.page.get_by_text(re.compile(r"What you see is of \d+:\d\d")).wait_for()
        await manager.accessible()
        await manager.context.set_offline(False)
        await manager.page.get_by_text("What you see is of").wait_for(state="hidden")
        manager.complaints.clear()  # the browser reports each request that failed


async def test_every_page_works_by_keyboard_alone(browser: Browser, installation: WalkedInstallation) -> None:
    async with walk(browser, installation, "admin") as operator:
        await operator.open("/console/now")
        await operator.page.keyboard.press("Tab")
        assert await operator.page.evaluate("document.activeElement.className") == "skip"
        await operator.page.keyboard.press("Enter")
        assert await operator.page.evaluate("document.activeElement.id") == "main"
        await operator.open("/console/style")
        await operator.accessible()
        await operator.fits()


async def test_pages_are_small() -> None:
    style, script = (ROOT / "services/console/static" / name for name in ("console.css", "console.js"))
    assert Path(style).stat().st_size + Path(script).stat().st_size < 60_000
