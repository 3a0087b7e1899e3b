"""Which types of event a key or a source may send, and for which rep a touch counts."""

import json
from typing import Any

import pytest

from firsthour.runtime.http.auth import ROLES
from firsthour.runtime.http.throttle import ATTEMPTS_MAX
from schemas.events import FLAG_REP, OUTSIDE_TYPES
from schemas.sources import DEAL, MARKETING_TYPES, TOUCH, may_send
from services.gateway import retry
from services.gateway.senders import REP_TYPES, ROLE_TYPES
from tests.unit.gateway.harness import SOURCES, Answer, GatewayHarness
from tests.unit.gateway.test_webhooks import billed

ANN = {"id": "1", "email": "ann@acme.example"}
REP, MANAGER, EMAIL = "noor", "ines", "noor@ourcompany.example"
ALL = (*OUTSIDE_TYPES, "custom.note")
ONLY_SOME = {TOUCH: {"sales", "manager", "admin"}, DEAL: {"sales", "manager", "admin"}}


def touch(**data: Any) -> dict[str, Any]:
    return {**ANN, "type": TOUCH, "data": {"channel": "phone", **data}}


@pytest.mark.parametrize("role", ROLES)
async def test_the_role_of_a_key_decides_which_types_it_sends(room: GatewayHarness, role: str) -> None:
    room.make_key("this", role)
    for type in ALL:
        answer = await room.event({**ANN, "type": type}, role="this")
        allowed = role in ONLY_SOME.get(type, ROLES)
        assert answer.status == (202 if allowed else 403), (type, answer.body)
        if not allowed:
            assert (answer.json["title"], answer.pointer) == ("Forbidden", "#/type")
            assert "kind: api" in answer.json["detail"]
    assert len(room.kept) == sum(role in ONLY_SOME.get(type, ROLES) for type in ALL)
    assert room.letters == []


def test_every_role_has_its_types() -> None:
    assert ROLE_TYPES.keys() == ROLES.keys()
    assert {type for type in OUTSIDE_TYPES if not may_send(REP_TYPES, type)} == {DEAL}
    assert not {TOUCH, DEAL} & set(MARKETING_TYPES)


async def test_a_list_with_one_forbidden_event_is_refused_whole(room: GatewayHarness) -> None:
    answer = await room.event([{**ANN, "type": "page.viewed"}, touch()])
    assert (answer.status, answer.pointer) == (403, "#/1/type")
    assert room.kept == []


async def test_a_key_of_a_source_sends_the_types_of_that_source_and_no_other(room: GatewayHarness) -> None:
    room.make_key("crm", "ingest", source="crm")
    for type, status in ((DEAL, 202), ("custom.note", 202), (TOUCH, 403), ("page.viewed", 403)):
        assert (await room.event({**ANN, "type": type}, role="crm")).status == status
    room.configure(SOURCES.replace("- id: crm", "- id: crm2"))
    answer = await room.event({**ANN, "type": DEAL}, role="crm")
    assert answer.status == 403
    assert "no longer names" in answer.json["detail"]


# --- touches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"rep": "tom"}, {"rep_email": "tom@ourcompany.example"}, {"rep": "nobody"}])
async def test_a_touch_from_a_reps_key_counts_as_that_reps(room: GatewayHarness, said: dict[str, str]) -> None:
    room.make_key("this", "sales", rep=REP)
    assert (await room.event(touch(**said), role="this")).status == 202
    assert room.kept[0].event.fields == {"channel": "phone", "rep": REP}
    assert (await room.event({**ANN, "type": DEAL}, role="this")).status == 403


async def test_a_manager_and_a_key_without_a_rep_may_name_the_rep(room: GatewayHarness) -> None:
    room.make_key("manager", "manager", rep=MANAGER)
    for role in ("sales", "manager"):
        await room.event(touch(rep=REP), role=role)
    await room.event(touch(), role="manager")
    await room.event(touch(), role="sales")
    assert [kept.event.fields.get("rep") for kept in room.kept] == [REP, REP, MANAGER, None]
    assert {kept.event.flags for kept in room.kept} == {()}


async def test_an_unknown_rep_is_dropped_from_a_touch_and_the_touch_is_flagged(room: GatewayHarness) -> None:
    for said in ({"rep": "zed"}, {"rep_email": "zed@acme.example"}, {"rep": 7}, {"rep": "zed", "rep_email": EMAIL}):
        assert (await room.event(touch(**said), role="sales")).status == 202
    *others, last = room.kept
    assert [kept.event.fields for kept in others] == [{"channel": "phone"}] * 3
    assert last.event.fields == {"channel": "phone", "rep_email": EMAIL}
    assert {kept.event.flags for kept in room.kept} == {(FLAG_REP,)}


async def test_the_address_of_a_rep_is_known_in_any_case(room: GatewayHarness) -> None:
    await room.event(touch(rep_email=EMAIL.upper()), role="sales")
    assert room.kept[0].event.flags == ()


async def test_a_retried_letter_from_a_reps_key_counts_as_that_reps(room: GatewayHarness) -> None:
    room.make_key("this", "sales", rep=REP)
    assert (await room.event({**touch(rep="tom"), "email": "?"}, role="this")).status == 422
    [letter] = room.letters
    corrected = json.dumps(touch(rep="tom")).encode()
    await room.units.run(lambda unit: retry.retry(unit, letter, corrected))
    assert room.kept[0].event.fields == {"channel": "phone", "rep": REP}


# --- hooks -------------------------------------------------------------------------------------------------------


async def send(room: GatewayHarness, type: str, **data: Any) -> Any:
    body = json.dumps({"type": type, "data": {"email": "ann@acme.example", **data}}).encode()
    return await billed(room, body, source="ours")


async def test_a_hook_without_a_mapping_sends_the_marketing_types_and_keeps_the_rest_for_the_operator(
    room: GatewayHarness,
) -> None:
    assert (await send(room, "page.viewed")).status == 202
    for type in (TOUCH, DEAL):
        answer = await send(room, type)
        assert (answer.status, answer.json["title"]) == (403, "Forbidden")
        assert "`types` of ours" in answer.json["detail"]
    assert [kept.type for kept in room.kept] == ["page.viewed"]
    assert len(room.letters) == 2


async def test_a_refused_hook_is_taken_once_its_source_lists_the_type(room: GatewayHarness) -> None:
    await send(room, TOUCH, rep="zed")
    listed = SOURCES.replace(
        "- id: ours\n    kind: webhook\n", f"- id: ours\n    kind: webhook\n    types: [{TOUCH}]\n"
    )
    room.configure(listed)
    [letter] = room.letters
    await room.units.run(lambda unit: retry.retry(unit, letter))
    assert [(kept.type, kept.event.flags) for kept in room.kept] == [(TOUCH, (FLAG_REP,))]
    assert (await send(room, "page.viewed")).status == 403


# --- wrong keys --------------------------------------------------------------------------------------------------


async def test_wrong_keys_are_throttled_by_their_address_and_right_ones_never(room: GatewayHarness) -> None:
    async def post(key: str, address: str) -> Answer:
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        return await room.ask(
            "POST", "/v1/events", headers, b'{"id": "1", "type": "page.viewed", "email": "a@a.example"}', client=address
        )

    for _ in range(ATTEMPTS_MAX):
        assert (await post("wrong", "192.0.2.1")).status == 401
    refused = await post("wrong", "192.0.2.1")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert (await post("wrong", "192.0.2.2")).status == 401
    assert (await post(room.secrets["ingest"], "192.0.2.1")).status == 202
