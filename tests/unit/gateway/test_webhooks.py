"""POST /hooks/{source}: webhooks of vendors, verified over the raw bytes and mapped by the configuration."""

import asyncio
import hmac
import json
from datetime import timedelta
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from schemas.sources import EventMapping
from services.gateway import retry
from services.gateway.domain.webhooks import EventIds, compile_mapping
from tests.unit.gateway.harness import HMAC_SECRET, NEXT_SECRET, STANDARD_SECRET, Answer, GatewayHarness

CALL: dict[str, Any] = {
    "kind": "call.ended",
    "uuid": "c-1",
    "ended_at": "2026-12-01T08:59:00Z",
    "duration": 95,
    "customer": {"email": "Ann@acme.example"},
    "agent": {"email": "noor@ourcompany.example"},
}
TRIAL = {
    "type": "trial.began",
    "timestamp": "2026-12-01T08:00:00Z",
    "data": {"email": "ann@acme.example", "plan": "pro"},
}


async def phoned(harness: GatewayHarness, body: bytes, **headers: str) -> Answer:
    """Send a signed webhook of the telephone system."""
    signature = hmac.digest(HMAC_SECRET.encode(), body, "sha256").hex()
    defaults = {"content-type": "application/json", "x-signature": f"sha256={signature}"}
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return await harness.request("POST", "/hooks/phone", defaults | extra, body)


async def billed(
    harness: GatewayHarness, body: bytes, id: str = "msg_1", secret: str = STANDARD_SECRET, source: str = "billing"
) -> Answer:
    """Send a signed Standard Webhook."""
    now = harness.clock.real()
    headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, now, body.decode()),
    }
    return await harness.request("POST", f"/hooks/{source}", headers, body)


async def test_call_becomes_a_touch(harness: GatewayHarness) -> None:
    answer = await phoned(harness, json.dumps(CALL).encode())

    assert (answer.status, answer.json) == (202, {"ids": ["c-1"]})
    [record] = harness.records
    assert (record.type, record.at) == ("touch.recorded", "2026-12-01T08:59:00+00:00")
    assert (record.event.source, record.event.email) == ("phone", "ann@acme.example")
    assert record.event.fields == {"channel": "phone", "answered": True, "rep_email": "noor@ourcompany.example"}


async def test_each_matching_entry_of_each_item_gives_an_event(harness: GatewayHarness) -> None:
    noted = {**CALL, "note": "wants a quote"}
    assert len((await phoned(harness, json.dumps(noted).encode())).json["ids"]) == 2
    assert [record.type for record in harness.records] == ["touch.recorded", "custom.note"]
    harness.units.rows.clear()
    answer = await phoned(harness, json.dumps([CALL, CALL, {**CALL, "uuid": "c-2"}]).encode())
    assert answer.json == {"ids": ["c-1", "c-1#2", "c-2"]}
    assert len({row.event_id for row in harness.units.rows}) == 3


async def test_bad_item_is_kept_and_the_rest_of_the_list_accepted(harness: GatewayHarness) -> None:
    bad: dict[str, Any] = {**CALL, "uuid": "c-2", "customer": {"email": "nobody"}}
    answer = await phoned(harness, json.dumps([CALL, bad, {**CALL, "uuid": None}]).encode())

    assert answer.status == 202
    [letter] = harness.letters
    assert [record.event.source_id for record in harness.records] == answer.json["ids"]
    assert answer.json | {"ids": len(answer.json["ids"])} == {
        "ids": 2,
        "taken": 2,
        "kept": 1,
        "dead_letters": [letter.id],
        "errors": [{"pointer": "#/1/email", "detail": answer.json["errors"][0]["detail"]}],
    }
    assert json.loads(letter.body) == bad
    corrected = json.dumps({**bad, "customer": {"email": "bo@acme.example"}}).encode()
    assert await harness.units.run(lambda unit: retry.retry(unit, letter, corrected)) == ["c-2"]
    assert harness.records[-1].event.email == "bo@acme.example"


async def test_id_of_an_item_depends_on_its_place_alone(harness: GatewayHarness) -> None:
    def sent(*emails: str) -> list[dict[str, Any]]:
        return [{**CALL, "uuid": None, "customer": {"email": email}} for email in emails]

    body = json.dumps(sent("ann@acme.example", "bo", "cy@acme.example")).encode()
    await phoned(harness, body)
    [letter] = harness.letters
    corrected = json.dumps(sent("bo@acme.example")[0]).encode()
    await harness.units.run(lambda unit: retry.retry(unit, letter, corrected))
    ids = [record.event.source_id for record in harness.records]
    assert [id.partition("#")[2] for id in ids] == ["", "3", "2"]


async def test_many_bad_items_become_a_bounded_number_of_letters(harness: GatewayHarness) -> None:
    bad = [{**CALL, "uuid": f"b-{n}", "customer": {"email": "nobody"}} for n in range(100)]
    answer = await phoned(harness, json.dumps([CALL, *bad]).encode())
    assert (answer.json["taken"], answer.json["kept"], len(answer.json["errors"])) == (1, 100, 20)
    assert len(harness.letters) == len(answer.json["dead_letters"]) == 21
    assert len(json.loads(max((letter.body for letter in harness.letters), key=len))) == 80


async def test_list_of_bad_items_alone_is_rejected_and_kept_whole(harness: GatewayHarness) -> None:
    body = json.dumps([{**CALL, "customer": None}] * 3).encode()
    answer = await phoned(harness, body)
    assert (answer.status, answer.pointer) == (202, "#/0/email")
    assert [letter.body for letter in harness.letters] == [body]


async def test_good_items_are_answered_after_the_bad_item_is_kept(harness: GatewayHarness) -> None:
    harness.units.keyless = True
    answer = await phoned(harness, json.dumps([CALL, {**CALL, "customer": None}]).encode())
    assert (answer.status, harness.records) == (503, [])


def test_event_ids_are_numbered_in_linear_time() -> None:
    class Counting(str):
        __slots__ = ()
        looked_at = 0

        def __hash__(self) -> int:
            Counting.looked_at += 1
            return super().__hash__()

    ids, same = EventIds(), Counting("same")
    taken = [ids.unused("custom.x", same) for _ in range(2_000)]
    assert taken[:3] == ["same", "same#2", "same#3"]
    assert len(set(taken)) == 2_000
    assert Counting.looked_at < 10 * 2_000
    clashing = EventIds()
    assert [clashing.unused("t", id) for id in ("a#2", "a", "a", "a#2", "b")] == ["a#2", "a", "a#3", "a#2#2", "b"]


async def test_event_loop_gets_turns_while_a_long_list_is_parsed(harness: GatewayHarness) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await phoned(harness, json.dumps([{**CALL, "uuid": f"c-{n}"} for n in range(500)]).encode())
    after_hooks = turns
    event = {"type": "page.viewed", "email": "ann@acme.example"}
    await harness.event([{**event, "id": n} for n in range(500)])
    other.cancel()
    assert after_hooks >= 50
    assert turns - after_hooks >= 50


async def test_replayed_delivery_has_no_effect_at_any_time(harness: GatewayHarness) -> None:
    body = json.dumps(CALL).encode()
    await phoned(harness, body)
    harness.clock.advance(days=19, hours=23)
    assert (await phoned(harness, body)).status == 202
    assert len({row.event_id for row in harness.units.rows}) == 1  # which consumers have seen
    harness.clock.advance(hours=2)
    answer = await phoned(harness, body)
    assert (answer.status, answer.pointer) == (202, "#/time")
    [letter] = harness.letters
    assert await harness.units.run(lambda unit: retry.retry(unit, letter)) == ["c-1"]


async def test_old_event_is_accepted_if_the_signature_covers_the_time(harness: GatewayHarness) -> None:
    assert (await billed(harness, json.dumps({**TRIAL, "timestamp": "2011-03-05T08:00:00Z"}).encode())).status == 202
    assert harness.records[0].at == "2011-03-05T08:00:00+00:00"


async def test_webhook_in_a_declared_charset_is_decoded(harness: GatewayHarness) -> None:
    body = json.dumps({**CALL, "kind": "x", "note": "Gr\xfc\xdfe"}, ensure_ascii=False).encode("latin-1")
    assert (await phoned(harness, body, content_type="application/json; charset=ISO-8859-1")).status == 202
    assert harness.records[0].event.fields == {"note": "Gr\xfc\xdfe"}


async def test_retried_delivery_has_the_same_event_ids(harness: GatewayHarness) -> None:
    for _ in range(2):
        await phoned(harness, json.dumps({**CALL, "uuid": None}).encode())
    assert len(harness.units.rows) == 2
    assert len({row.event_id for row in harness.units.rows}) == 1


async def test_delivery_without_a_matching_entry_is_202_and_dropped(harness: GatewayHarness) -> None:
    for body in (b'{"kind":"call.started"}', b"[]", b"1", b"null", b'{"when":[]}'):
        answer = await phoned(harness, body)
        assert (answer.status, answer.json) == (202, {"ids": []})
    assert (harness.records, harness.letters) == ([], [])


async def test_delivery_id_of_standard_webhooks_is_the_event_id(harness: GatewayHarness) -> None:
    assert (await billed(harness, json.dumps(TRIAL).encode())).json == {"ids": ["msg_1"]}
    assert (await billed(harness, json.dumps(TRIAL).encode(), secret=NEXT_SECRET)).json == {"ids": ["msg_1"]}
    assert len({row.event_id for row in harness.units.rows}) == 1
    assert harness.records[0].event.fields == {"plan": "pro"}


async def test_old_delivery_is_rejected(harness: GatewayHarness) -> None:
    body = json.dumps(TRIAL).encode()
    stamp = harness.clock.real() - timedelta(seconds=301)
    signature = Webhook(STANDARD_SECRET).sign("msg_1", stamp, body.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(stamp.timestamp())), "webhook-signature": signature}
    assert (await harness.request("POST", "/hooks/billing", headers, body)).status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 50_000, b'{"a":1,"a":2}', json.dumps(CALL).encode()])
@pytest.mark.parametrize("path", ["/hooks/phone", "/hooks/billing", "/hooks/stamped"])
@pytest.mark.parametrize(
    "headers", [{}, {"x-signature": "sha256=00"}, {"x-signature": "\xff"}, {"content-type": "text/plain"}]
)
async def test_missing_or_invalid_signature_is_401_for_any_body(
    harness: GatewayHarness, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = await harness.request("POST", path, headers, body)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert "www-authenticate" in answer.headers
    assert harness.letters == []


async def test_size_is_checked_before_the_signature(harness: GatewayHarness) -> None:
    assert (await harness.request("POST", "/hooks/phone", {}, b"x" * 262145)).status == 413


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{", "#"),
        (b"\xff", "#"),
        (b"[" * 100 + b"]" * 100, "#" + "/0" * 32),
        (json.dumps({**CALL, "customer": {"email": "ann"}}).encode(), "#/email"),
        (json.dumps({**CALL, "customer": None}).encode(), "#/email"),
        (json.dumps({**CALL, "ended_at": "soon"}).encode(), "#/time"),
        (json.dumps({**CALL, "uuid": {}}).encode(), "#/id"),
        (json.dumps({**CALL, "note": 5}).encode(), "sources.yaml:24:16"),
    ],
)
async def test_signed_body_that_is_unmappable_is_kept_and_answered_with_202(
    harness: GatewayHarness, body: bytes, pointer: str
) -> None:
    answer = await phoned(harness, body)
    assert (answer.status, answer.pointer) == (202, pointer)
    [letter] = harness.letters
    assert (letter.id, letter.body, letter.source) == (answer.json["dead_letters"][0], body, "phone")
    assert (letter.consumer, letter.origin) == ("gateway", "/hooks/phone")
    assert harness.records == []


@pytest.mark.parametrize("headers", [{"content_type": "text/csv"}, {"content_encoding": "gzip"}])
async def test_signed_body_of_another_media_type_is_kept(harness: GatewayHarness, headers: dict[str, str]) -> None:
    answer = await phoned(harness, b"<call/>", **headers)
    assert (answer.status, answer.pointer[:7]) == (202, "header:")
    assert len(harness.letters) == 1


async def test_dead_letter_keeps_its_delivery_id(harness: GatewayHarness) -> None:
    await billed(harness, json.dumps({**TRIAL, "timestamp": "soon"}).encode(), id="msg_1/ü".replace("ü", "u"))
    [letter] = harness.letters
    ids = await harness.units.run(lambda unit: retry.retry(unit, letter, json.dumps(TRIAL).encode()))
    await billed(harness, json.dumps(TRIAL).encode(), id="msg_1/u")
    assert ids == ["msg_1/u"]
    assert len({row.event_id for row in harness.units.rows}) == 1


async def test_retry_of_a_letter_without_a_source_is_409(harness: GatewayHarness) -> None:
    await phoned(harness, b"{")
    [letter] = harness.letters
    harness.configure("sources: []\n")
    with pytest.raises(Exception, match="409"):
        await harness.units.run(lambda unit: retry.retry(unit, letter))


async def test_unknown_source_is_404(harness: GatewayHarness) -> None:
    for path in ("/hooks/nobody", "/hooks/", "/hooks/website", "/hooks/phone/x"):
        assert (await harness.request("POST", path)).status == 404


async def test_source_without_its_secret_is_503_and_names_no_path(harness: GatewayHarness) -> None:
    answer = await harness.request("POST", "/hooks/unset", {}, b"{}")
    assert answer.status == 503
    assert "nowhere" not in answer.body.decode()


async def test_secret_file_that_appears_or_changes_is_loaded(harness: GatewayHarness) -> None:
    body = json.dumps(TRIAL).encode()
    assert (await billed(harness, body)).status == 202
    first, second = harness.directory / "first.secret", harness.directory / "second.secret"
    first.unlink()
    second.unlink()
    harness.clock.advance(seconds=2)
    assert (await billed(harness, body, id="msg_2")).status == 503
    second.write_text("whsec_AA==")
    harness.clock.advance(seconds=2)
    assert (await billed(harness, body, id="msg_3", secret="whsec_AA==")).status == 503, (
        "a malformed secret is not used as a key"
    )
    second.write_text(STANDARD_SECRET)
    harness.clock.advance(seconds=2)
    assert (await billed(harness, body, id="msg_4")).status == 202


async def test_storage_failure_is_503(harness: GatewayHarness) -> None:
    harness.units.full = True
    assert (await phoned(harness, json.dumps(CALL).encode())).status == 503
    assert (await phoned(harness, b"{")).status == 503


NAMES = st.sampled_from(["a", "b", "c d"])
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    BODIES, st.sampled_from(["a", "a.b", 'a.b."c d"', "a[0]", "a[].b", "a || b", "[0].a", "a.length(@)", "a.*", "@"])
)
def test_path_expression_equals_jmespath(body: Any, text: str) -> None:
    entry = compile_mapping(EventMapping(type="custom.x", email="a", data={"value": text}))

    assert result_of(entry.data["value"], body) == result_of(jmespath.compile(text), body)


def result_of(expression: Any, body: Any) -> Any:
    try:
        return expression.search(body)
    except jmespath.exceptions.JMESPathError as error:
        return type(error)
