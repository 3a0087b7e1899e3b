"""POST /v1/forms/{form}: what browsers and pages send."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from services.gateway import ingest
from tests.unit.gateway.room import SOURCES, Room

DEMO = "/v1/forms/demo-request"
ANN = {
    "email": "ann@acme.example",
    "name": "Ann",
    "company": "Acme",
    "employees": "1,200",
    "utm_source": "ad",
    "message": "hi",
}
ORIGIN = {"origin": "https://www.acme.example"}


def multipart(parts: list[tuple[str, bytes]], boundary: str = "b0undary") -> tuple[dict[str, str], bytes]:
    """(headers, body). Each part: what follows `form-data; `, and its content."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


async def test_a_posted_form_is_kept_with_what_it_says_of_the_person(room: Room) -> None:
    answer = await room.form(ANN, referer="https://www.acme.example/demo?x=1")

    assert answer.status == 202
    [kept] = room.kept
    assert (kept.type, kept.event.source, kept.event.email) == ("form.submitted", "website", "ann@acme.example")
    assert answer.json == {"ids": [kept.event.source_id]}
    assert kept.event.fields == {"form": "demo-request", "path": "/demo", "message": "hi"}
    assert kept.event.person == {
        "name": "Ann",
        "company.name": "Acme",
        "company.employees": 1200,
        "utm.source": "ad",
        "custom.message": "hi",
    }


async def test_all_three_ways_of_posting_say_the_same(room: Room) -> None:
    headers, body = multipart([(f'name="{name}"', value.encode()) for name, value in ANN.items()])
    assert (await room.ask("POST", DEMO, headers, body)).status == 202
    assert (await room.ask("POST", DEMO, {"content-type": "application/json"}, json.dumps(ANN).encode())).status == 202
    assert (await room.form(ANN)).status == 202
    first, *others = room.kept
    assert all((one.event.person, one.event.fields) == (first.event.person, first.event.fields) for one in others)


async def test_each_post_is_an_event_of_its_own_unless_it_has_an_id(room: Room) -> None:
    for fields in (ANN, ANN, {**ANN, "id": "7"}, {**ANN, "_id": "7"}, {**ANN, "_id": "7", "email": "bo@acme.example"}):
        assert (await room.form(fields)).status == 202
    one, two, seven, again, of_another_person = (row.event_id for row in room.units.rows)
    assert seven == again
    assert len({one, two, seven, of_another_person}) == 4


async def test_an_idempotency_key_is_an_id_too(room: Room) -> None:
    first = await room.form(ANN, idempotency_key="k1")
    again = await room.form(ANN, idempotency_key="k1")
    assert first.json == again.json == {"ids": ["k1"]}
    assert again.headers["idempotent-replayed"] == "true"
    assert len(room.kept) == 1


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": "Ann"}, "#/email"),
        ({"email": " "}, "#/email"),
        ({"email": "ann@"}, "#/email"),
        ({"email": "ann@", "phone": "+4930123456"}, "#/email"),
        ({"phone": "030 123456"}, "#/phone"),
        ({"anonymous_id": "x"}, "#/email"),
    ],
)
async def test_a_form_nobody_could_answer_names_the_field_and_the_remedy(
    room: Room, fields: dict[str, str], pointer: str
) -> None:
    answer = await room.form(fields)
    assert (answer.status, answer.pointer) == (422, pointer)
    assert "; " in answer.json["errors"][0]["detail"]
    assert (room.kept, room.letters) == ([], [])


async def test_a_phone_is_enough(room: Room) -> None:
    assert (await room.form({"phone": "030 123456", "country": "Germany"})).status == 202
    assert room.kept[0].event.phone == "+4930123456"


async def test_nobody_becomes_a_known_customer_by_saying_so(room: Room) -> None:
    await room.form({**ANN, "crm_id": "0031"})
    [kept] = room.kept
    assert kept.event.crm_id is None
    assert kept.event.person["custom.crm_id"] == "0031"


async def test_names_of_fields_are_taken_as_pages_write_them(room: Room) -> None:
    await room.form({"Email": "ann@acme.example", "First-Name": "Ann", "company[name]": "Acme", "Interest": "x"})
    [kept] = room.kept
    assert kept.event.person == {"first_name": "Ann", "company.name": "Acme", "custom.Interest": "x"}


async def test_a_field_sent_twice_is_a_list(room: Room) -> None:
    body = urlencode([("email", "ann@acme.example"), ("topics[]", "a"), ("topics[]", "b")]).encode()
    await room.ask("POST", DEMO, {"content-type": "application/x-www-form-urlencoded"}, body)
    assert room.kept[0].event.person == {"custom.topics": "a, b"}


async def test_an_unknown_form_says_how_to_add_it(room: Room) -> None:
    answer = await room.form(ANN, form="nowhere")
    assert answer.status == 404
    assert "`forms:`" in answer.json["detail"]
    room.configure(SOURCES.replace("newsletter]", "nowhere]"))
    assert (await room.form(ANN, form="nowhere")).status == 202


async def test_a_full_disk_is_told(room: Room) -> None:
    room.units.full = True
    answer = await room.form(ANN, accept="text/html")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


# --- other sites ----------------------------------------------------------------------------------------------------


async def test_pages_of_allowed_origins_may_post_and_read_the_answer(room: Room) -> None:
    for fields, status in ((ANN, 202), ({}, 422)):
        answer = await room.form(fields, **ORIGIN)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://www.acme.example"
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://www.acme.example.evil.example", ""])
async def test_pages_of_other_origins_may_not(room: Room, origin: str) -> None:
    answer = await room.form(ANN, origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert (answer.headers["vary"], room.kept) == ("Origin", [])


async def test_a_source_may_be_open_to_all(room: Room) -> None:
    assert (await room.form(ANN, form="anywhere", origin="https://any.example")).status == 202


async def test_a_browser_asks_before_it_posts(room: Room) -> None:
    asked = ORIGIN | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = await room.ask("OPTIONS", DEMO, asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert (await room.ask("OPTIONS", DEMO, {"origin": "https://evil.example"})).status == 403
    assert (await room.ask("OPTIONS", "/v1/forms/nowhere", ORIGIN)).status == 404


# --- going on --------------------------------------------------------------------------------------------------------


async def test_a_browser_goes_on_to_the_sources_page(room: Room) -> None:
    answer = await room.form(ANN, accept="text/html,*/*")
    assert (answer.status, answer.headers["location"]) == (303, "https://www.acme.example/thanks")
    assert len(room.kept) == 1


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("https://www.acme.example/own?a=b", "https://www.acme.example/own?a=b"),
        ("https://evil.example/", "https://www.acme.example/thanks"),
        ("https://www.acme.example@evil.example/", "https://www.acme.example/thanks"),
        ("//evil.example", "https://www.acme.example/thanks"),
        ("https://www.acme.example/\r\nSet-Cookie: a=b", "https://www.acme.example/thanks"),
        ("javascript:alert(1)", "https://www.acme.example/thanks"),
        ("https://[", "https://www.acme.example/thanks"),
    ],
)
async def test_a_page_may_choose_where_within_its_origin(room: Room, asked: str, location: str) -> None:
    assert (await room.form({**ANN, "_redirect": asked}, accept="text/html")).headers["location"] == location
    assert "custom._redirect" not in room.kept[0].event.person


async def test_a_source_open_to_all_redirects_nowhere_it_was_not_told(room: Room) -> None:
    answer = await room.form({**ANN, "_redirect": "https://any.example/"}, form="anywhere", accept="text/html")
    assert answer.status == 202


async def test_a_script_gets_its_answer(room: Room) -> None:
    assert (await room.form(ANN, accept="application/json")).status == 202
    headers = {"content-type": "application/json", "accept": "text/html"}
    assert (await room.ask("POST", DEMO, headers, json.dumps(ANN).encode())).status == 202


# --- robots ----------------------------------------------------------------------------------------------------------


async def test_a_robot_is_told_what_people_are_told_and_its_post_set_aside(room: Room) -> None:
    answer = await room.form({**ANN, "fax": "123"}, accept="text/html")
    assert (answer.status, room.kept) == (303, [])
    [letter] = room.letters
    assert (letter.error, letter.origin.partition("#")[0]) == ("honeypot", DEMO)
    assert (await room.form({"fax": "123"})).status == 202
    assert (await room.form({**ANN, "fax": ""})).status == 202
    assert "custom.fax" not in room.kept[0].event.person


async def test_a_person_taken_for_a_robot_can_be_let_in(room: Room) -> None:
    headers, body = multipart(
        [(f'name="{name}"', value.encode()) for name, value in {**ANN, "fax": "1"}.items()], "a b'c"
    )
    headers = {"content-type": 'multipart/form-data; boundary="a b\'c"'}
    answer = await room.ask("POST", DEMO, headers, body)
    [letter] = room.letters
    assert await room.units.run(lambda unit: ingest.replay(unit, letter)) == answer.json["ids"]
    assert room.kept[0].event.email == "ann@acme.example"


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b"email=a", 415),
        ({}, b"email=a", 415),
        ({"content-type": "application/x-www-form-urlencoded", "content-encoding": "br"}, b"email=a", 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"email=%ff", 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"\xff", 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"&".join(b"a=1" for _ in range(501)), 422),
        ({"content-type": "application/x-www-form-urlencoded"}, b"x" * 262145, 413),
        ({"content-type": "application/json"}, b"{", 400),
        ({"content-type": "application/json"}, b"[]", 422),
        ({"content-type": "multipart/form-data"}, b"", 400),
        ({"content-type": "multipart/form-data; boundary=x"}, b"", 400),
        (
            {"content-type": "multipart/form-data; boundary=x"},
            b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb",
            400,
        ),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--y\r\n\r\n--y--", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(room: Room, headers: dict[str, str], body: bytes, status: int) -> None:
    assert (await room.ask("POST", DEMO, headers, body)).status == status
    assert room.letters == []


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (('name="cv"; filename="cv.pdf"', b"%PDF"), 415),
        (('name="cv"; filename=""', b"x"), 415),
        (('name="cv"; filename=""', b""), 202),
        (('name="note"', b"\xff"), 400),
        (('size="1"', b"x"), 400),
    ],
)
async def test_files_are_not_taken(room: Room, part: tuple[str, bytes], status: int) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), part])
    assert (await room.ask("POST", DEMO, headers, body)).status == status


async def test_nul_is_replaced_and_told(room: Room) -> None:
    await room.form({**ANN, "name": "A\x00nn"})
    [kept] = room.kept
    assert (kept.event.altered, kept.event.person["name"]) == (True, "A\ufffdnn")


async def test_a_json_form_may_be_nested(room: Room) -> None:
    sent: dict[str, Any] = {"email": "ann@acme.example", "company": {"name": "Acme"}, "consent": True, "score": 3}
    await room.ask("POST", DEMO, {"content-type": "application/json"}, json.dumps(sent).encode())
    assert room.kept[0].event.person == {"company.name": "Acme", "consent": True, "custom.score": 3}
