"""POST /hooks/{source}: vendors' webhooks, verified over the raw bytes and mapped by the configuration."""

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


async def phoned(room: GatewayHarness, body: bytes, **headers: str) -> Answer:
    """A webhook of the telephone system, rightly signed."""
    made = hmac.digest(HMAC_SECRET.encode(), body, "sha256").hex()
    given = {"content-type": "application/json", "x-signature": f"sha256={made}"}
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    return await room.ask("POST", "/hooks/phone", given | extra, body)


async def billed(
    room: GatewayHarness, body: bytes, id: str = "msg_1", secret: str = STANDARD_SECRET, source: str = "billing"
) -> Answer:
    """A Standard Webhook, rightly signed."""
    now = room.clock.real()
    headers = {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, now, body.decode()),
    }
    return await room.ask("POST", f"/hooks/{source}", headers, body)


async def test_a_call_becomes_a_touch(room: GatewayHarness) -> None:
    answer = await phoned(room, json.dumps(CALL).encode())

    assert (answer.status, answer.json) == (202, {"ids": ["c-1"]})
    [kept] = room.kept
    assert (kept.type, kept.at) == ("touch.recorded", "2026-12-01T08:59:00+00:00")
    assert (kept.event.source, kept.event.email) == ("phone", "ann@acme.example")
    assert kept.event.fields == {"channel": "phone", "answered": True, "rep_email": "noor@ourcompany.example"}


async def test_each_entry_that_applies_makes_an_event_and_each_item_of_a_list(room: GatewayHarness) -> None:
    noted = {**CALL, "note": "wants a quote"}
    assert len((await phoned(room, json.dumps(noted).encode())).json["ids"]) == 2
    assert [kept.type for kept in room.kept] == ["touch.recorded", "custom.note"]
    room.units.rows.clear()
    answer = await phoned(room, json.dumps([CALL, CALL, {**CALL, "uuid": "c-2"}]).encode())
    assert answer.json == {"ids": ["c-1", "c-1#2", "c-2"]}
    assert len({row.event_id for row in room.units.rows}) == 3


async def test_one_bad_item_does_not_refuse_the_list(room: GatewayHarness) -> None:
    bad: dict[str, Any] = {**CALL, "uuid": "c-2", "customer": {"email": "nobody"}}
    answer = await phoned(room, json.dumps([CALL, bad, {**CALL, "uuid": None}]).encode())

    assert answer.status == 202
    [letter] = room.letters
    assert [kept.event.source_id for kept in room.kept] == answer.json["ids"]
    assert answer.json | {"ids": len(answer.json["ids"])} == {
        "ids": 2,
        "taken": 2,
        "kept": 1,
        "dead_letters": [letter.id],
        "errors": [{"pointer": "#/1/email", "detail": answer.json["errors"][0]["detail"]}],
    }
    assert json.loads(letter.body) == bad
    corrected = json.dumps({**bad, "customer": {"email": "bo@acme.example"}}).encode()
    assert await room.units.run(lambda unit: retry.retry(unit, letter, corrected)) == ["c-2"]
    assert room.kept[-1].event.email == "bo@acme.example"


async def test_an_item_without_an_id_keeps_its_id_whatever_becomes_of_its_neighbours(room: GatewayHarness) -> None:
    def sent(*emails: str) -> list[dict[str, Any]]:
        return [{**CALL, "uuid": None, "customer": {"email": email}} for email in emails]

    body = json.dumps(sent("ann@acme.example", "bo", "cy@acme.example")).encode()
    await phoned(room, body)
    [letter] = room.letters
    corrected = json.dumps(sent("bo@acme.example")[0]).encode()
    await room.units.run(lambda unit: retry.retry(unit, letter, corrected))
    ids = [kept.event.source_id for kept in room.kept]
    assert [id.partition("#")[2] for id in ids] == ["", "3", "2"]


async def test_many_bad_items_become_a_bounded_number_of_letters(room: GatewayHarness) -> None:
    bad = [{**CALL, "uuid": f"b-{n}", "customer": {"email": "nobody"}} for n in range(100)]
    answer = await phoned(room, json.dumps([CALL, *bad]).encode())
    assert (answer.json["taken"], answer.json["kept"], len(answer.json["errors"])) == (1, 100, 20)
    assert len(room.letters) == len(answer.json["dead_letters"]) == 21
    assert len(json.loads(max((letter.body for letter in room.letters), key=len))) == 80


async def test_a_list_of_bad_items_alone_is_refused_and_kept_whole(room: GatewayHarness) -> None:
    body = json.dumps([{**CALL, "customer": None}] * 3).encode()
    answer = await phoned(room, body)
    assert (answer.status, answer.pointer) == (422, "#/0/email")
    assert [letter.body for letter in room.letters] == [body]


async def test_good_items_are_not_acknowledged_before_the_bad_one_is_kept(room: GatewayHarness) -> None:
    room.units.keyless = True
    answer = await phoned(room, json.dumps([CALL, {**CALL, "customer": None}]).encode())
    assert (answer.status, room.kept) == (503, [])


def test_ids_of_a_body_are_numbered_in_linear_time() -> None:
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


async def test_the_loop_has_turns_while_a_long_list_is_read(room: GatewayHarness) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await phoned(room, json.dumps([{**CALL, "uuid": f"c-{n}"} for n in range(500)]).encode())
    after_hooks = turns
    event = {"type": "page.viewed", "email": "ann@acme.example"}
    await room.event([{**event, "id": n} for n in range(500)])
    other.cancel()
    assert after_hooks >= 50
    assert turns - after_hooks >= 50


async def test_a_captured_delivery_has_no_effect_however_late_it_is_sent_again(room: GatewayHarness) -> None:
    body = json.dumps(CALL).encode()
    await phoned(room, body)
    room.clock.advance(days=19, hours=23)
    assert (await phoned(room, body)).status == 202
    assert len({row.event_id for row in room.units.rows}) == 1  # which consumers have seen
    room.clock.advance(hours=2)
    answer = await phoned(room, body)
    assert (answer.status, answer.pointer) == (422, "#/time")
    [letter] = room.letters
    assert await room.units.run(lambda unit: retry.retry(unit, letter)) == ["c-1"]


async def test_a_signature_that_says_when_it_was_sent_may_tell_of_long_ago(room: GatewayHarness) -> None:
    assert (await billed(room, json.dumps({**TRIAL, "timestamp": "2011-03-05T08:00:00Z"}).encode())).status == 202
    assert room.kept[0].at == "2011-03-05T08:00:00+00:00"


async def test_a_webhook_in_a_declared_charset_is_read(room: GatewayHarness) -> None:
    body = json.dumps({**CALL, "kind": "x", "note": "Gr\xfc\xdfe"}, ensure_ascii=False).encode("latin-1")
    assert (await phoned(room, body, content_type="application/json; charset=ISO-8859-1")).status == 202
    assert room.kept[0].event.fields == {"note": "Gr\xfc\xdfe"}


async def test_a_retry_names_the_same_events(room: GatewayHarness) -> None:
    for _ in range(2):
        await phoned(room, json.dumps({**CALL, "uuid": None}).encode())
    assert len(room.units.rows) == 2
    assert len({row.event_id for row in room.units.rows}) == 1


async def test_what_no_entry_wants_is_acknowledged_and_left(room: GatewayHarness) -> None:
    for body in (b'{"kind":"call.started"}', b"[]", b"1", b"null", b'{"when":[]}'):
        answer = await phoned(room, body)
        assert (answer.status, answer.json) == (202, {"ids": []})
    assert (room.kept, room.letters) == ([], [])


async def test_a_standard_webhook_goes_by_its_delivery_id(room: GatewayHarness) -> None:
    assert (await billed(room, json.dumps(TRIAL).encode())).json == {"ids": ["msg_1"]}
    assert (await billed(room, json.dumps(TRIAL).encode(), secret=NEXT_SECRET)).json == {"ids": ["msg_1"]}
    assert len({row.event_id for row in room.units.rows}) == 1
    assert room.kept[0].event.fields == {"plan": "pro"}


async def test_an_old_delivery_is_refused(room: GatewayHarness) -> None:
    body = json.dumps(TRIAL).encode()
    stamp = room.clock.real() - timedelta(seconds=301)
    made = Webhook(STANDARD_SECRET).sign("msg_1", stamp, body.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(stamp.timestamp())), "webhook-signature": made}
    assert (await room.ask("POST", "/hooks/billing", headers, body)).status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 50_000, b'{"a":1,"a":2}', json.dumps(CALL).encode()])
@pytest.mark.parametrize("path", ["/hooks/phone", "/hooks/billing", "/hooks/stamped"])
@pytest.mark.parametrize(
    "headers", [{}, {"x-signature": "sha256=00"}, {"x-signature": "\xff"}, {"content-type": "text/plain"}]
)
async def test_a_missing_or_bad_signature_is_401_whatever_it_is_on(
    room: GatewayHarness, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = await room.ask("POST", path, headers, body)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert "www-authenticate" in answer.headers
    assert room.letters == []


async def test_size_goes_before_the_signature(room: GatewayHarness) -> None:
    assert (await room.ask("POST", "/hooks/phone", {}, b"x" * 262145)).status == 413


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, "#"),
        (b"\xff", 400, "#"),
        (b"[" * 100 + b"]" * 100, 422, "#" + "/0" * 32),
        (json.dumps({**CALL, "customer": {"email": "ann"}}).encode(), 422, "#/email"),
        (json.dumps({**CALL, "customer": None}).encode(), 422, "#/email"),
        (json.dumps({**CALL, "ended_at": "soon"}).encode(), 422, "#/time"),
        (json.dumps({**CALL, "uuid": {}}).encode(), 422, "#/id"),
        (json.dumps({**CALL, "note": 5}).encode(), 422, "sources.yaml:when"),
    ],
)
async def test_a_signed_body_that_cannot_be_mapped_is_kept(
    room: GatewayHarness, body: bytes, status: int, pointer: str
) -> None:
    answer = await phoned(room, body)
    assert (answer.status, answer.pointer) == (status, pointer)
    [letter] = room.letters
    assert (letter.id, letter.body, letter.source) == (answer.json["dead_letter"], body, "phone")
    assert (letter.consumer, letter.origin) == ("gateway", "/hooks/phone")
    assert room.kept == []


@pytest.mark.parametrize("headers", [{"content_type": "text/xml"}, {"content_encoding": "gzip"}])
async def test_a_signed_body_of_another_type_is_kept_too(room: GatewayHarness, headers: dict[str, str]) -> None:
    answer = await phoned(room, b"<call/>", **headers)
    assert answer.status == 415
    assert len(room.letters) == 1


async def test_a_letter_keeps_its_delivery_id_so_that_a_late_retry_is_no_second_event(room: GatewayHarness) -> None:
    await billed(room, json.dumps({**TRIAL, "timestamp": "soon"}).encode(), id="msg_1/ü".replace("ü", "u"))
    [letter] = room.letters
    ids = await room.units.run(lambda unit: retry.retry(unit, letter, json.dumps(TRIAL).encode()))
    await billed(room, json.dumps(TRIAL).encode(), id="msg_1/u")
    assert ids == ["msg_1/u"]
    assert len({row.event_id for row in room.units.rows}) == 1


async def test_a_letter_whose_source_is_gone_says_so(room: GatewayHarness) -> None:
    await phoned(room, b"{")
    [letter] = room.letters
    room.configure("sources: []\n")
    with pytest.raises(Exception, match="409"):
        await room.units.run(lambda unit: retry.retry(unit, letter))


async def test_an_unknown_source_is_404(room: GatewayHarness) -> None:
    for path in ("/hooks/nobody", "/hooks/", "/hooks/website", "/hooks/phone/x"):
        assert (await room.ask("POST", path)).status == 404


async def test_a_preset_that_is_not_there_yet_is_asked_to_come_back(room: GatewayHarness) -> None:
    answer = await room.ask("POST", "/hooks/hubspot")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "not available yet" in answer.json["detail"]


async def test_a_source_without_its_secret_keeps_nobodys_word_and_tells_no_path(room: GatewayHarness) -> None:
    answer = await room.ask("POST", "/hooks/unset", {}, b"{}")
    assert answer.status == 503
    assert "nowhere" not in answer.body.decode()


async def test_a_secret_file_that_appears_or_changes_later_is_loaded(room: GatewayHarness) -> None:
    body = json.dumps(TRIAL).encode()
    assert (await billed(room, body)).status == 202
    first, second = room.directory / "first.secret", room.directory / "second.secret"
    first.unlink()
    second.unlink()
    room.clock.advance(seconds=2)
    assert (await billed(room, body, id="msg_2")).status == 503
    second.write_text("whsec_AA==")
    room.clock.advance(seconds=2)
    assert (await billed(room, body, id="msg_3", secret="whsec_AA==")).status == 503, "no other key is made of it"
    second.write_text(STANDARD_SECRET)
    room.clock.advance(seconds=2)
    assert (await billed(room, body, id="msg_4")).status == 202


async def test_nothing_is_acknowledged_that_cannot_be_kept(room: GatewayHarness) -> None:
    room.units.full = True
    assert (await phoned(room, json.dumps(CALL).encode())).status == 503
    assert (await phoned(room, b"{")).status == 503


NAMES = st.sampled_from(["a", "b", "c d"])
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    BODIES, st.sampled_from(["a", "a.b", 'a.b."c d"', "a[0]", "a[].b", "a || b", "[0].a", "a.length(@)", "a.*", "@"])
)
def test_a_path_finds_what_the_language_finds(body: Any, text: str) -> None:
    entry = compile_mapping(EventMapping(type="custom.x", email="a", data={"found": text}))

    assert found_by(entry.data["found"], body) == found_by(jmespath.compile(text), body)


def found_by(expression: Any, body: Any) -> Any:
    try:
        return expression.search(body)
    except jmespath.exceptions.JMESPathError as wrong:
        return type(wrong)
