"""The recipients of rungs: the cover, the nearest manager, a Slack channel, and rungs without a recipient."""

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from firsthour.kernel.config import Config
from schemas.team import Team
from services.notifier.context import NotifierContext
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.objection import Availability
from services.notifier.domain.recipients import Absences, Recipient, recipient
from tests.unit.notifier.harness import NotifierHarness, with_ladder
from tests.unit.notifier.router_records import NINE

OWNER, COVER = {"at": "0m", "page": "owner", "by": "slack"}, {"at": "10m", "page": "cover", "by": "slack"}
MANAGER = {"at": "20m", "page": "manager", "by": "slack"}
CHANNEL = {"at": "25m", "page": "channel", "to": "#inbound"}
AWAY = {"from": "2026-11-30", "to": "2026-12-03"}


def rep(id: str, **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id.title(), "email": f"{id}@s.example", "slack": f"U0{id.upper()}", **fields}


def with_team(*reps: dict[str, Any], ladder: tuple[dict[str, Any], ...] = (OWNER, COVER, MANAGER, CHANNEL)) -> Config:
    """Return a configuration with these reps, whose pool has all but `max` and `vp`, and `vp` as its manager."""
    members = [{"rep": one["id"]} for one in reps if one["id"] not in ("max", "vp")]
    managers = [rep("max"), rep("vp")]
    team = {
        "reps": [*reps, *(one for one in managers if one["id"] not in {known["id"] for known in reps})],
        "pools": [{"id": "all", "manager": "vp", "members": members}],
    }
    return dataclasses.replace(with_ladder(*ladder), team=Team.model_validate(team))


def chosen(config: Config, rung: int, absences: Absences | None = None, lead: str = "l1") -> Recipient:
    clock = ResponseClock(
        lead_id=lead, version=1, urgency="hot", submit_at=NINE, promise_at=NINE + timedelta(hours=1), updated_at=NINE,
        epoch=1, rep="ana", pool="all",
    )  # fmt: skip
    terms = NotifierContext(("slack",)).terms_of(config)
    return recipient(terms.ladder[rung], clock, terms, absences or {}, NINE)


def away(until: datetime | None = None) -> Availability:
    return Availability("away", until, 1)


def test_cover_named_for_the_absence_comes_before_the_pool() -> None:
    team = (rep("ana", away=[{**AWAY, "cover": "zoe"}]), rep("bo"), rep("cy"), rep("max"))
    config = with_team(*team, rep("zoe"))
    assert {chosen(config, 1, lead=f"l{n}").person for n in range(20)} == {"zoe"}
    assert chosen(config, 1, {"zoe": away()}).person in ("bo", "cy")


def test_cover_is_a_member_on_duty_and_the_same_each_time() -> None:
    config = with_team(rep("ana", manager="max"), rep("bo"), rep("cy"), rep("di", slack=None), rep("ed", active=False))
    by_lead = {f"l{n}": chosen(config, 1, lead=f"l{n}").person for n in range(40)}
    assert set(by_lead.values()) == {"bo", "cy"}, "leads are spread, and neither the owner nor unreachable reps cover"
    assert by_lead == {lead: chosen(config, 1, lead=lead).person for lead in by_lead}
    assert {chosen(config, 1, {"bo": away()}, lead).person for lead in by_lead} == {"cy"}
    nobody = chosen(config, 1, {"bo": away(), "cy": away(NINE + timedelta(hours=1))})
    assert nobody == Recipient("", "no recipient: no other member of the pool of ana is on duty")
    assert chosen(config, 1, {"bo": away(), "cy": away(NINE)}).person == "cy", "an absence that has ended"


def test_manager_is_the_nearest_one_who_is_there() -> None:
    config = with_team(rep("ana", manager="max"), rep("max", manager="eve"), rep("eve"))
    assert chosen(config, 2).person == "max"
    assert chosen(config, 2, {"max": away()}).person == "eve"
    assert chosen(config, 2, {"max": away(), "eve": away()}).person == "vp"
    assert chosen(config, 2, {rep: away() for rep in ("max", "eve", "vp")}).person == "max"


def test_rep_without_a_manager_has_that_of_the_pool() -> None:
    assert chosen(with_team(rep("ana")), 2).person == "vp"


@pytest.mark.parametrize(("to", "slack"), [("#inbound", "#inbound"), ("C012AB3CD", "C012AB3CD"), ("#c0-x", "#c0-x")])
async def test_channel_gets_its_page_by_slack(harness: NotifierHarness, to: str, slack: str) -> None:
    harness.units.config = with_ladder(OWNER, {**CHANNEL, "to": to})
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=25)
    assert [message.person_slack for message in harness.slack.messages] == ["U0ANA", slack]
    assert (harness.page(1)["kind"], harness.page(1)["state"]) == ("channel", "sent")


async def test_rungs_without_a_recipient_are_passed_at_once(harness: NotifierHarness) -> None:
    harness.units.config = with_team(rep("ana"), ladder=(OWNER, COVER, {**MANAGER, "at": "15m"}, CHANNEL))
    harness.hear(harness.rep("vp", "deactivated", version=1))
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=9)
    assert harness.slack.recipients == ["Ana"]
    await harness.wait(minutes=1)
    assert [message.person_slack for message in harness.slack.messages] == ["U0ANA", "#inbound"]
    assert harness.page(1)["error"] == "no recipient: no other member of the pool of ana is on duty"
    assert harness.page(2)["error"] == "vp is deactivated"


async def test_cover_is_paged_for_the_owner(harness: NotifierHarness) -> None:
    harness.units.config = with_team(rep("ana"), rep("bo"))
    harness.hear(harness.qualified(), harness.assigned())
    await harness.wait(minutes=10)
    assert harness.slack.recipients == ["Ana", "Bo"]
    message = harness.slack.messages[-1]
    assert (message.kind, message.owner_name) == ("cover", "Ana")
