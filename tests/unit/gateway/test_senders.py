"""Which types of event a key or a source may send, and to which rep a touch is attributed."""

import json
from typing import Any

import pytest

from firsthour.runtime.http.principal import ROLES
from firsthour.runtime.http.throttle import ATTEMPTS_MAX
from schemas.events.outside import FLAG_REP, OUTSIDE_TYPES
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
async def test_role_of_a_key_decides_its_types(harness: GatewayHarness, role: str) -> None:
    harness.make_key("this", role)
    for type in ALL:
        answer = await harness.event({**ANN, "type": type}, role="this")
        allowed = role in ONLY_SOME.get(type, ROLES)
        assert answer.status == (202 if allowed else 403), (type, answer.body)
        if not allowed:
            assert (answer.json["title"], answer.pointer) == ("Forbidden", "#/type")
            assert "kind: api" in answer.json["detail"]
    assert len(harness.records) == sum(role in ONLY_SOME.get(type, ROLES) for type in ALL)
    assert harness.letters == []


def test_every_role_has_types() -> None:
    assert ROLE_TYPES.keys() == ROLES.keys()
    assert {type for type in OUTSIDE_TYPES if not may_send(REP_TYPES, type)} == {DEAL}
    assert not {TOUCH, DEAL} & set(MARKETING_TYPES)


async def test_list_with_one_forbidden_event_is_rejected_whole(harness: GatewayHarness) -> None:
    answer = await harness.event([{**ANN, "id": "another", "type": "page.viewed"}, touch()])
    assert (answer.status, answer.pointer) == (403, "#/1/type")
    assert harness.records == []


async def test_key_of_a_source_sends_only_the_types_of_the_source(harness: GatewayHarness) -> None:
    harness.make_key("crm", "ingest", source="crm")
    for type, status in ((DEAL, 202), ("custom.note", 202), (TOUCH, 403), ("page.viewed", 403)):
        assert (await harness.event({**ANN, "type": type}, role="crm")).status == status
    harness.configure(SOURCES.replace("- id: crm", "- id: crm2"))
    answer = await harness.event({**ANN, "type": DEAL}, role="crm")
    assert answer.status == 403
    assert "no longer names" in answer.json["detail"]


# --- touches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"rep": "tom"}, {"rep_email": "tom@ourcompany.example"}, {"rep": "nobody"}])
async def test_touch_of_a_reps_key_is_attributed_to_the_rep(harness: GatewayHarness, fields: dict[str, str]) -> None:
    harness.make_key("this", "sales", rep=REP)
    assert (await harness.event(touch(**fields), role="this")).status == 202
    assert harness.records[0].event.fields == {"channel": "phone", "rep": REP}
    assert (await harness.event({**ANN, "type": DEAL}, role="this")).status == 403


async def test_manager_and_key_without_a_rep_may_name_the_rep(harness: GatewayHarness) -> None:
    harness.make_key("manager", "manager", rep=MANAGER)
    for role in ("sales", "manager"):
        await harness.event(touch(rep=REP), role=role)
    await harness.event(touch(), role="manager")
    await harness.event(touch(), role="sales")
    assert [record.event.fields.get("rep") for record in harness.records] == [REP, REP, MANAGER, None]
    assert {record.event.flags for record in harness.records} == {()}


async def test_unknown_rep_is_dropped_from_a_touch_and_flagged(harness: GatewayHarness) -> None:
    for fields in ({"rep": "zed"}, {"rep_email": "zed@acme.example"}, {"rep": 7}, {"rep": "zed", "rep_email": EMAIL}):
        assert (await harness.event(touch(**fields), role="sales")).status == 202
    *others, last = harness.records
    assert [record.event.fields for record in others] == [{"channel": "phone"}] * 3
    assert last.event.fields == {"channel": "phone", "rep_email": EMAIL}
    assert {record.event.flags for record in harness.records} == {(FLAG_REP,)}


async def test_address_of_a_rep_matches_in_any_case(harness: GatewayHarness) -> None:
    await harness.event(touch(rep_email=EMAIL.upper()), role="sales")
    assert harness.records[0].event.flags == ()


async def test_retried_letter_of_a_reps_key_is_attributed_to_the_rep(harness: GatewayHarness) -> None:
    harness.make_key("this", "sales", rep=REP)
    assert (await harness.event({**touch(rep="tom"), "email": "?"}, role="this")).status == 422
    [letter] = harness.letters
    corrected = json.dumps(touch(rep="tom")).encode()
    await harness.units.run(lambda unit: retry.retry(unit, letter, corrected))
    assert harness.records[0].event.fields == {"channel": "phone", "rep": REP}


# --- hooks -------------------------------------------------------------------------------------------------------


async def send(harness: GatewayHarness, type: str, **data: Any) -> Any:
    body = json.dumps({"type": type, "data": {"email": "ann@acme.example", **data}}).encode()
    return await billed(harness, body, source="ours")


async def test_webhook_without_a_mapping_sends_only_marketing_types(
    harness: GatewayHarness,
) -> None:
    assert (await send(harness, "page.viewed")).status == 202
    for type in (TOUCH, DEAL):
        answer = await send(harness, type)
        assert (answer.status, answer.pointer) == (202, "#/type")
        assert "`types` of ours" in answer.json["errors"][0]["detail"]
    assert [record.type for record in harness.records] == ["page.viewed"]
    assert len(harness.letters) == 2


async def test_rejected_webhook_is_retried_once_its_source_lists_the_type(harness: GatewayHarness) -> None:
    await send(harness, TOUCH, rep="zed")
    listed = SOURCES.replace(
        "- id: ours\n    kind: webhook\n", f"- id: ours\n    kind: webhook\n    types: [{TOUCH}]\n"
    )
    harness.configure(listed)
    [letter] = harness.letters
    await harness.units.run(lambda unit: retry.retry(unit, letter))
    assert [(record.type, record.event.flags) for record in harness.records] == [(TOUCH, (FLAG_REP,))]
    assert (await send(harness, "page.viewed")).pointer == "#/type"


# --- invalid keys ------------------------------------------------------------------------------------------------


async def test_invalid_keys_are_throttled_by_address_and_valid_keys_are_not(harness: GatewayHarness) -> None:
    async def post(key: str, address: str) -> Answer:
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        return await harness.request(
            "POST", "/v1/events", headers, b'{"id": "1", "type": "page.viewed", "email": "a@a.example"}', client=address
        )

    for _ in range(ATTEMPTS_MAX):
        assert (await post("wrong", "192.0.2.1")).status == 401
    answer = await post("wrong", "192.0.2.1")
    assert (answer.status, answer.headers["retry-after"]) == (429, "60")
    assert (await post("wrong", "192.0.2.2")).status == 401
    assert (await post(harness.secrets["ingest"], "192.0.2.1")).status == 202
