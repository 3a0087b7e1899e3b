"""The live feed and the startup banner of `up`: lines are cleaned, and limited in number."""

import asyncio
import io
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from rich.console import Console

from firsthour.cli.live_feed import LINES_PER_SECOND, Feed
from firsthour.cli.startup_banner import StartupBanner
from firsthour.runtime import package_files
from firsthour.runtime.config import reading
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage.records import Record
from schemas.envelope import encode
from schemas.events.base import Event
from schemas.events.routes import LeadAssigned, LeadCard, LeadQueued

AT = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
CONFIG = reading.load(package_files.examples())
RESOURCES = cast(Resources, SimpleNamespace(config=SimpleNamespace(current=CONFIG)))


def screen() -> tuple[Feed, Callable[[], str]]:
    shown = io.StringIO()
    return Feed(Console(file=shown, width=100)), shown.getvalue


def row(event: Event) -> tuple[str, Record]:
    return "routes", Record(1, "l", "e", encode(event, id="e", source="urn:t", time=AT, key="l"))


def assigned(name: str) -> LeadAssigned:
    common: dict[str, Any] = {
        "lead_id": "l",
        "version": 1,
        "at": AT,
        "status": "assigned",
        "was": "qualified",
        "by": "system",
    }
    return LeadAssigned(
        **common,
        epoch=1,
        rep="noor",
        decision_id="d",
        urgency="hot",
        submit_at=AT,
        assigned_at=AT,
        rule="Everybody else",
        card=LeadCard(name=name, company="Acme"),
    )


def test_assignment_is_one_line_with_lead_owner_and_rule() -> None:
    feed, shown = screen()
    feed.heard([row(assigned("Ada"))], RESOURCES)
    assert shown() == "09:30:00  Ada, Acme  -> Noor Haddad  Everybody else\n"


def test_text_from_outside_is_printed_without_control_or_markup() -> None:
    feed, shown = screen()
    feed.heard([row(assigned("\x1b[2J[bold]Ada\r\n"))], RESOURCES)
    assert "\x1b" not in shown()
    assert "[bold]Ada" in shown()
    assert shown().count("\n") == 1


def test_queued_lead_is_one_line_with_its_reason() -> None:
    feed, shown = screen()
    waits = LeadQueued(
        lead_id="l", version=1, at=AT, status="qualified", was="qualified", by="system", epoch=0,
        pool="growth", reason="all 3 at capacity", urgency="hot", submit_at=AT,
    )  # fmt: skip
    feed.heard([row(waits)], RESOURCES)
    assert "growth  all 3 at capacity" in shown()


async def test_lines_beyond_the_limit_are_counted_not_printed() -> None:
    feed, shown = screen()
    feed.heard([row(assigned("Ada"))] * 40, RESOURCES)
    assert shown().count("\n") == LINES_PER_SECOND
    running = asyncio.create_task(feed.run())
    async with asyncio.timeout(5):
        while "more" not in shown():
            await asyncio.sleep(0.01)
    running.cancel()
    assert f"and {40 - LINES_PER_SECOND} more leads" in shown()


def banner(**more: Any) -> StartupBanner:
    return StartupBanner(
        **{
            "url": "http://127.0.0.1:8080",
            "config": CONFIG,
            "data": "data",
            "key": None,
            "first_key_valid": True,
            **more,
        }
    )


def test_command_in_the_banner_is_valid_shell() -> None:
    (line,) = [line for line in banner().lines() if line.startswith("curl")]
    words = shlex.split(line)
    assert words[:3] == ["curl", "-sS", "http://127.0.0.1:8080/v1/forms/demo-request"]
    assert "email=ada@northwind.example" in words


def test_key_is_shown_only_at_the_start_that_creates_it() -> None:
    assert any("fh_secret" in line for line in banner(key="fh_secret").lines())
    (command,) = [line for line in banner(key="fh_secret", key_file=Path("a b/admin.key")).lines() if "leads?" in line]
    assert ("fh_secret" in command, "$(cat 'a b/admin.key')" in command) == (False, True)
    assert any("still works" in line for line in banner().lines())
    assert any("To create a key:" in line for line in banner(first_key_valid=False).lines())
    assert any("--name ME --data '/srv/a b'" in line for line in banner(data="/srv/a b").lines())
    assert any("FIRSTHOUR_ADMIN_KEY" in line for line in banner(from_settings=True).lines())
