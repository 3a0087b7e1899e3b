"""POST /v1/forms/{form}: what browsers and pages send."""

import json
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import request_bodies, retry
from tests.unit.gateway.harness import SOURCES, GatewayHarness

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


async def test_a_posted_form_is_kept_with_what_it_says_of_the_person(room: GatewayHarness) -> None:
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


async def test_all_three_ways_of_posting_say_the_same(room: GatewayHarness) -> None:
    headers, body = multipart([(f'name="{name}"', value.encode()) for name, value in ANN.items()])
    assert (await room.ask("POST", DEMO, headers, body)).status == 202
    assert (await room.ask("POST", DEMO, {"content-type": "application/json"}, json.dumps(ANN).encode())).status == 202
    assert (await room.form(ANN)).status == 202
    first, *others = room.kept
    assert all((one.event.person, one.event.fields) == (first.event.person, first.event.fields) for one in others)


async def test_each_post_without_a_key_is_an_event_of_its_own(room: GatewayHarness) -> None:
    for _ in range(2):
        assert (await room.form(ANN)).status == 202
    assert len({row.event_id for row in room.units.rows}) == 2


@pytest.mark.parametrize("key", [{"id": "7"}, {"_id": "7"}])
async def test_a_retry_of_a_form_has_the_same_key_and_fields_within_a_day(
    room: GatewayHarness, key: dict[str, str]
) -> None:
    first = await room.form({**ANN, **key})
    room.clock.advance(hours=23, minutes=59)
    again = await room.form({**ANN, **key})
    assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
    assert len(room.kept) == 1


async def test_another_inquiry_under_the_same_hidden_id_is_another_event(room: GatewayHarness) -> None:
    await room.form({**ANN, "id": "7"})
    for fields in ({**ANN, "id": "7", "message": "and a second thing"}, {**ANN, "id": "7", "email": "bo@acme.example"}):
        answer = await room.form(fields)
        assert (answer.status, answer.json) == (202, {"ids": ["7"]})
    room.clock.advance(hours=24, seconds=1)
    await room.form({**ANN, "id": "7"})
    assert len({row.event_id for row in room.units.rows}) == len(room.units.rows) == 4


async def test_a_browser_that_tries_again_makes_up_another_boundary(room: GatewayHarness) -> None:
    parts = [(f'name="{name}"', value.encode()) for name, value in {**ANN, "_id": "7"}.items()]
    for boundary in ("one", "two"):
        headers, body = multipart(parts, boundary)
        assert (await room.ask("POST", DEMO, headers, body)).status == 202
    assert len(room.kept) == 1


async def test_a_retry_counts_once_while_the_keys_cannot_be_kept(room: GatewayHarness) -> None:
    room.units.keyless = True
    for _ in range(2):
        assert (await room.form({**ANN, "id": "7"})).status == 202
    assert len({row.event_id for row in room.units.rows}) == 1


async def test_an_idempotency_key_is_for_one_request_on_forms_too(room: GatewayHarness) -> None:
    assert (await room.form(ANN, idempotency_key="k1")).status == 202
    answer = await room.form({**ANN, "message": "another"}, idempotency_key="k1")
    assert (answer.status, answer.pointer) == (422, "header:Idempotency-Key")
    assert len(room.kept) == 1


async def test_an_idempotency_key_is_an_id_too(room: GatewayHarness) -> None:
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
        ({"email": "ann@", "phone": "extension 5"}, "#/email"),
        ({"email": "ann@", "anonymous_id": "x"}, "#/email"),
        ({"phone": "030 123456"}, "#/phone"),
        ({"anonymous_id": "x"}, "#/email"),
    ],
)
async def test_a_form_nobody_could_answer_names_the_field_and_the_remedy(
    room: GatewayHarness, fields: dict[str, str], pointer: str
) -> None:
    answer = await room.form(fields)
    assert (answer.status, answer.pointer) == (422, pointer)
    assert "; " in answer.json["errors"][0]["detail"]
    [letter] = room.letters
    assert (room.kept, letter.id, letter.source) == ([], answer.json["dead_letter"], "website")
    assert letter.body == urlencode(fields).encode()


async def test_a_phone_is_enough(room: GatewayHarness) -> None:
    assert (await room.form({"phone": "030 123456", "country": "Germany"})).status == 202
    assert room.kept[0].event.phone == "+4930123456"


async def test_nobody_becomes_a_known_customer_by_saying_so(room: GatewayHarness) -> None:
    await room.form({**ANN, "crm_id": "0031"})
    [kept] = room.kept
    assert kept.event.crm_id is None
    assert kept.event.person["custom.crm_id"] == "0031"


async def test_names_of_fields_are_taken_as_pages_write_them(room: GatewayHarness) -> None:
    await room.form({"Email": "ann@acme.example", "First-Name": "Ann", "company[name]": "Acme", "Interest": "x"})
    [kept] = room.kept
    assert kept.event.person == {"first_name": "Ann", "company.name": "Acme", "custom.Interest": "x"}


async def test_a_field_sent_twice_is_a_list(room: GatewayHarness) -> None:
    body = urlencode([("email", "ann@acme.example"), ("topics[]", "a"), ("topics[]", "b")]).encode()
    await room.ask("POST", DEMO, {"content-type": "application/x-www-form-urlencoded"}, body)
    assert room.kept[0].event.person == {"custom.topics": "a, b"}


async def test_an_unknown_form_says_how_to_add_it(room: GatewayHarness) -> None:
    answer = await room.form(ANN, form="nowhere")
    assert answer.status == 404
    assert "`forms:`" in answer.json["detail"]
    room.configure(SOURCES.replace("newsletter]", "nowhere]"))
    assert (await room.form(ANN, form="nowhere")).status == 202


async def test_a_full_disk_is_told(room: GatewayHarness) -> None:
    room.units.full = True
    answer = await room.form(ANN, accept="text/html")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


# --- other sites ----------------------------------------------------------------------------------------------------


async def test_pages_of_allowed_origins_may_post_and_read_the_answer(room: GatewayHarness) -> None:
    for fields, status in ((ANN, 202), ({}, 422)):
        answer = await room.form(fields, **ORIGIN)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://www.acme.example"
        assert answer.headers["vary"] == "Origin"


async def test_a_page_may_read_that_its_form_was_too_large(room: GatewayHarness) -> None:
    large = {**ANN, "message": "x" * 300_000}
    answer = await room.form(large, **ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (413, "https://www.acme.example")
    assert answer.headers["vary"] == "Origin"
    other = await room.form(large, origin="https://evil.example")
    assert (other.status, "access-control-allow-origin" in other.headers) == (413, False)
    assert (await room.form(large, form="nowhere", **ORIGIN)).status == 413


async def test_a_page_without_an_origin_is_told_how_to_have_one(room: GatewayHarness) -> None:
    answer = await room.form(ANN, origin="null")
    assert "`Referrer-Policy: no-referrer`" in answer.json["detail"]
    assert "allowed_origins" not in answer.json["detail"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://www.acme.example.evil.example", ""])
async def test_pages_of_other_origins_may_not(room: GatewayHarness, origin: str) -> None:
    answer = await room.form(ANN, origin=origin)
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    assert (answer.headers["vary"], room.kept) == ("Origin", [])


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        ("https://www.acme.example:443", "https://www.acme.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://www.acme.example:8443", "https://www.acme.example:8443"),
        ("http://localhost:443", "http://localhost:443"),
    ],
)
async def test_an_origin_may_be_listed_with_the_port_that_browsers_leave_out(
    room: GatewayHarness, listed: str, sent: str
) -> None:
    room.configure(SOURCES.replace('https://www.acme.example"]', f'{listed}"]'))
    assert (await room.form(ANN, origin=sent)).status == 202


async def test_a_source_may_be_open_to_all(room: GatewayHarness) -> None:
    assert (await room.form(ANN, form="anywhere", origin="https://any.example")).status == 202


async def test_a_browser_asks_before_it_posts(room: GatewayHarness) -> None:
    asked = ORIGIN | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = await room.ask("OPTIONS", DEMO, asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert (await room.ask("OPTIONS", DEMO, {"origin": "https://evil.example"})).status == 403
    assert (await room.ask("OPTIONS", "/v1/forms/nowhere", ORIGIN)).status == 404


# --- going on --------------------------------------------------------------------------------------------------------


async def test_a_browser_goes_on_to_the_sources_page(room: GatewayHarness) -> None:
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
async def test_a_page_may_choose_where_within_its_origin(room: GatewayHarness, asked: str, location: str) -> None:
    assert (await room.form({**ANN, "_redirect": asked}, accept="text/html")).headers["location"] == location
    assert "custom._redirect" not in room.kept[0].event.person


async def test_a_source_open_to_all_redirects_nowhere_it_was_not_told(room: GatewayHarness) -> None:
    answer = await room.form({**ANN, "_redirect": "https://any.example/"}, form="anywhere", accept="text/html")
    assert answer.status == 202


async def test_a_script_gets_its_answer(room: GatewayHarness) -> None:
    assert (await room.form(ANN, accept="application/json")).status == 202
    headers = {"content-type": "application/json", "accept": "text/html"}
    assert (await room.ask("POST", DEMO, headers, json.dumps(ANN).encode())).status == 202


# --- robots ----------------------------------------------------------------------------------------------------------


async def test_a_robot_is_told_what_people_are_told_and_its_post_set_aside(room: GatewayHarness) -> None:
    answer = await room.form({**ANN, "fax": "123"}, accept="text/html")
    assert (answer.status, room.kept) == (303, [])
    [letter] = room.letters
    assert (letter.error, letter.origin.partition("#")[0]) == ("honeypot", DEMO)
    assert (await room.form({"fax": "123"})).status == 202
    assert (await room.form({**ANN, "fax": ""})).status == 202
    assert "custom.fax" not in room.kept[0].event.person


async def test_a_person_taken_for_a_robot_can_be_let_in(room: GatewayHarness) -> None:
    headers, body = multipart(
        [(f'name="{name}"', value.encode()) for name, value in {**ANN, "fax": "1"}.items()], "a b'c"
    )
    headers = {"content-type": 'multipart/form-data; boundary="a b\'c"'}
    answer = await room.ask("POST", DEMO, headers, body)
    [letter] = room.letters
    assert await room.units.run(lambda unit: retry.retry(unit, letter)) == answer.json["ids"]
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
async def test_a_body_that_is_no_form_is_refused_and_kept(
    room: GatewayHarness, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await room.ask("POST", DEMO, headers, body)
    assert answer.status == status
    kept = bool(body) and status != 413
    assert [(letter.body, letter.content_type) for letter in room.letters] == (
        [(body, headers.get("content-type", ""))] if kept else []
    )
    assert answer.json.get("dead_letter") == (room.letters[0].id if kept else None)


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (('name="cv"; filename="cv.pdf"', b"%PDF"), 415),
        (('name="cv"; filename=""', b"x"), 415),
        (("name=cv; filename*=UTF-8''b%C3%BCcher.pdf", b"%PDF"), 415),
        (('name="cv"; filename=""', b""), 202),
        (('name="note"', b"\xff"), 400),
        (('size="1"', b"x"), 400),
    ],
)
async def test_files_are_not_taken(room: GatewayHarness, part: tuple[str, bytes], status: int) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), part])
    assert (await room.ask("POST", DEMO, headers, body)).status == status


async def test_nul_is_replaced_and_told(room: GatewayHarness) -> None:
    await room.form({**ANN, "name": "A\x00nn"})
    [kept] = room.kept
    assert (kept.event.altered, kept.event.person["name"]) == (True, "A\ufffdnn")


async def test_a_json_form_may_be_nested(room: GatewayHarness) -> None:
    sent: dict[str, Any] = {"email": "ann@acme.example", "company": {"name": "Acme"}, "consent": True, "score": 3}
    await room.ask("POST", DEMO, {"content-type": "application/json"}, json.dumps(sent).encode())
    assert room.kept[0].event.person == {"company.name": "Acme", "consent": True, "custom.score": 3}


# --- what a person really sent ---------------------------------------------------------------------------------------


async def posted(room: GatewayHarness, body: bytes, media: str = "application/x-www-form-urlencoded") -> Any:
    """The event made of a body."""
    answer = await room.ask("POST", DEMO, {"content-type": media}, body)
    assert answer.status == 202, answer.body
    return room.kept[-1].event


@pytest.mark.parametrize("email", ["n/a", "-", "none@", "ann@acme,example"])
async def test_a_bad_email_beside_a_good_phone_does_not_lose_the_person(room: GatewayHarness, email: str) -> None:
    event = await posted(room, urlencode({"email": email, "phone": "+49 30 123456"}).encode())
    assert (event.email, event.phone, event.person) == (None, "+4930123456", {"custom.email": email})


async def test_a_plus_that_was_not_encoded_is_still_that_of_the_number(room: GatewayHarness) -> None:
    event = await posted(room, b"email=n/a&phone=+49 30 123456")
    assert event.phone == "+4930123456"
    event = await posted(room, b"phone= 030 123456&country=DE&email= 1@acme.example")
    assert (event.phone, event.email) == ("+4930123456", "1@acme.example")
    refused = await room.ask("POST", DEMO, {"content-type": "application/x-www-form-urlencoded"}, b"phone= 030 123456")
    assert refused.status == 422


@pytest.mark.parametrize("name", ["email", "phone", "anonymous_id"])
@pytest.mark.parametrize("given", [False, 1.5, {"value": "1"}, "1" * 600])
async def test_an_identifier_that_is_no_text_beside_a_good_one_does_not_lose_the_person(
    room: GatewayHarness, name: str, given: object
) -> None:
    good = {"phone": "+4930123456"} if name == "email" else {"email": "ann@acme.example"}
    event = await posted(room, json.dumps(good | {name: given}).encode(), "application/json")
    assert {"email": event.email, "phone": event.phone} == {"email": None, "phone": None} | good
    assert any(fact.startswith(f"custom.{name}") for fact in event.person)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-encoding": "gzip"}, 415),
        ({"idempotency-key": "k" * 300}, 400),
        ({"idempotency-key": "used"}, 422),
    ],
)
async def test_a_form_whose_head_is_refused_is_kept(room: GatewayHarness, headers: dict[str, str], status: int) -> None:
    await room.form({"email": "bo@acme.example"}, **{"idempotency-key": "used"})
    answer = await room.form(ANN, **headers)
    assert answer.status == status
    assert [letter.id for letter in room.letters] == [answer.json["dead_letter"]]
    assert room.letters[0].body == urlencode(ANN).encode()


@pytest.mark.parametrize(
    ("pairs", "facts"),
    [
        ([("name", "Ann"), ("name", "Bo")], {"name": "Bo"}),
        ([("name", "Ann"), ("name", " ")], {"name": "Ann"}),
        ([("name", ""), ("name", "Ann")], {"name": "Ann"}),
        ([("consent", "0"), ("consent", "1")], {"consent": True}),
        ([("email", "other@acme.example"), ("email", "")], {}),
        ([("Email", ""), ("Name", "Ann"), ("name", "")], {"name": "Ann"}),
        ([("plan", "a"), ("plan", "b")], {"custom.plan": "b"}),
        ([("plan[]", "a"), ("plan[]", "b")], {"custom.plan": "a, b"}),
    ],
)
async def test_of_a_field_sent_twice_the_last_value_that_says_something_counts(
    room: GatewayHarness, pairs: list[tuple[str, str]], facts: dict[str, Any]
) -> None:
    event = await posted(room, urlencode([("email", "ann@acme.example"), *pairs]).encode())
    assert event.person == facts
    assert event.email == ("other@acme.example" if pairs[0][0] == "email" else "ann@acme.example")


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"your-email": "ann@acme.example", "your-name": "Ann", "your-message": "hi"}, "Ann"),
        ({"E-Mail": "ann@acme.example", "Full Name": "Ann", "message": "hi"}, "Ann"),
        ({"email": "ann@acme.example", "your-email": "", "name": "Ann", "your_name": "", "message": "hi"}, "Ann"),
    ],
)
async def test_the_usual_names_of_form_plugins_are_understood(
    room: GatewayHarness, fields: dict[str, str], read: str
) -> None:
    event = await posted(room, urlencode(fields).encode())
    assert (event.email, event.person["name"], event.fields["message"]) == ("ann@acme.example", read, "hi")


async def test_a_menu_of_company_sizes_is_a_number(room: GatewayHarness) -> None:
    for name in ("employees", "company_size", "company[employees]", "number-of-employees"):
        event = await posted(room, urlencode({"email": "ann@acme.example", name: "201-500 employees"}).encode())
        assert event.person == {"company.employees": 201}


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/x-www-form-urlencoded; charset=ISO-8859-1", b"email=ann@acme.example&name=M%FCller"),
        ("application/x-www-form-urlencoded; charset=windows-1252", b"email=ann@acme.example&name=M\xfcller"),
        ("application/x-www-form-urlencoded", b"email=ann@acme.example&name=M%FCller&_charset_=iso-8859-1"),
        ("application/x-www-form-urlencoded; charset=UTF-8", b"email=ann@acme.example&name=M%C3%BCller&_charset_="),
        ("application/x-www-form-urlencoded", b"\xef\xbb\xbfemail=ann@acme.example&name=M%C3%BCller"),
        ("application/x-www-form-urlencoded", b"%EF%BB%BFemail=ann@acme.example&name=M%C3%BCller"),
        ("application/json", b'\xef\xbb\xbf{"email":"ann@acme.example","name":"M\xc3\xbcller"}'),
        ("application/json; charset=iso-8859-1", b'{"email":"ann@acme.example","name":"M\xfcller"}'),
        ("application/json; charset=iso-8859-1", b'{"email":"ann@acme.example","name":"M\xc3\xbcller"}'),
    ],
)
async def test_charsets_that_are_declared_and_byte_order_marks_are_understood(
    room: GatewayHarness, media: str, body: bytes
) -> None:
    event = await posted(room, body, media)
    assert (event.email, event.person, event.altered) == ("ann@acme.example", {"name": "M\xfcller"}, False)


@pytest.mark.parametrize(
    ("parameter", "part", "also"),
    [
        ("; charset=latin1", "", []),
        ("", "\r\nContent-Type: text/plain; charset=windows-1252", []),
        ("", "", [('name="_charset_"', b"iso-8859-1")]),
    ],
)
async def test_the_charset_of_a_multipart_form_stands_in_three_places(
    room: GatewayHarness, parameter: str, part: str, also: list[tuple[str, bytes]]
) -> None:
    headers, body = multipart([*also, ('name="email"', b"ann@acme.example"), (f'name="name"{part}', b"M\xfcller")])
    event = await posted(room, b"\xef\xbb\xbf" + body, headers["content-type"] + parameter)
    assert event.person == {"name": "M\xfcller"}


@pytest.mark.parametrize("charset", ["unicode_escape", "idna", "zip", "x" * 10_000, "utf-16"])
async def test_an_unknown_charset_reaches_no_decoder(room: GatewayHarness, charset: str) -> None:
    headers = {"content-type": f"application/x-www-form-urlencoded; charset={charset}"}
    answer = await room.ask("POST", DEMO, headers, b"email=ann@acme.example&name=%FC")
    assert answer.status in (400, 415)
    assert len(room.letters) == 1


async def test_a_kept_form_can_be_corrected_and_retried(room: GatewayHarness) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), ('name="cv"; filename="cv.pdf"', b"%PDF")])
    assert (await room.ask("POST", DEMO, headers, body)).status == 415
    [letter] = room.letters
    assert letter.body == body
    _, corrected = multipart([('name="email"', b"ann@acme.example")])
    await room.units.run(lambda unit: retry.retry(unit, letter, corrected))
    assert room.kept[0].event.email == "ann@acme.example"


@given(
    st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%e4%bc", b"+", b"a", b"%zz", b"\xff", b"%%", b"F"])).map(b"".join)
)
def test_percent_signs_are_decoded_as_the_standard_library_does(text: bytes) -> None:
    fields, _ = request_bodies.parse_form(b"x=" + text, request_bodies.URLENCODED, {b"charset": b"latin1"})
    assert fields == {"x": unquote_to_bytes(text.replace(b"+", b" ")).decode("cp1252", "replace")}


async def test_the_head_of_a_part_is_bounded(room: GatewayHarness) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), ("name=a" + ';"' * 600, b"x")])
    assert (await room.ask("POST", DEMO, headers, body)).status == 400
    assert [letter.body for letter in room.letters] == [body]


@pytest.mark.parametrize("part", ['name="a"' + ";=" * 11, 'name="a"\r\ncontent-type: text/plain' + ";=" * 11])
async def test_the_parameters_of_a_part_are_bounded(room: GatewayHarness, part: str) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), (part, b"x")])
    assert (await room.ask("POST", DEMO, headers, body)).status == 400
    assert [letter.body for letter in room.letters] == [body]


# --- pages for visitors ----------------------------------------------------------------------------------------------

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("form", "fields", "status", "says"),
    [
        ("anywhere", ANN, 202, "Thank you"),
        ("demo-request", {"email": "<script>alert(1)</script>", "name": "<b>Ann"}, 422, "enter an email address"),
        ("demo-request", {"phone": "<b>1"}, 422, "enter a phone number"),
        ("nowhere<script>", ANN, 404, "Form not available"),
    ],
)
async def test_a_visitor_sees_a_page_that_repeats_nothing_they_sent(
    room: GatewayHarness, form: str, fields: dict[str, str], status: int, says: str
) -> None:
    answer = await room.form(fields, form=form, **BROWSER)
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert says in page
    assert "script" not in page
    assert "<b>" not in page
    assert "ann" not in page.lower().replace("ann@example.com", "").replace("cannot", "")


async def test_a_visitor_is_told_when_nothing_can_be_kept(room: GatewayHarness) -> None:
    room.units.full = True
    answer = await room.form(ANN, **BROWSER)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"send it again" in answer.body


async def test_a_kept_form_says_so_to_the_visitor(room: GatewayHarness) -> None:
    answer = await room.form({"name": "Ann"}, **BROWSER)
    assert b"What you sent is kept." in answer.body
    assert b"What you sent is kept." not in (await room.form({}, **BROWSER)).body


# --- honeypots -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["false", "False", "0", "off", "no", "", " ", "\u3164"])
async def test_a_checkbox_left_alone_is_no_robot(room: GatewayHarness, value: str) -> None:
    await posted(room, urlencode({**ANN, "fax": value}).encode())
    assert room.letters == []


@pytest.mark.parametrize("value", [False, 0, None, "", [], {}, [False, "0"]])
async def test_a_script_writes_an_empty_honeypot_in_many_ways(room: GatewayHarness, value: Any) -> None:
    await posted(room, json.dumps({**ANN, "fax": value}).encode(), "application/json")
    assert room.letters == []


@pytest.mark.parametrize("value", [True, 1, "true", "on", "1", "x", ["", "x"], {"a": 1}])
async def test_a_filled_honeypot_is_a_robot_in_any_shape(room: GatewayHarness, value: Any) -> None:
    body = json.dumps({**ANN, "fax": value}).encode()
    assert (await room.ask("POST", DEMO, {"content-type": "application/json"}, body)).status == 202
    assert (len(room.letters), room.kept) == (1, [])


async def test_a_post_whose_event_would_be_larger_than_a_record_is_refused_and_kept(room: GatewayHarness) -> None:
    quotes = '"' * 2_000  # each takes two bytes in an event
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    fields = {"email": "ada@acme.example", **{f"f{n}": quotes for n in range(120)}}
    body = ("".join(part.format(*field) for field in fields.items()) + "--b--\r\n").encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await room.ask("POST", "/v1/forms/demo-request", headers, body)
    assert answer.status == 413
    assert "256 KiB" in answer.body.decode()
    [letter] = room.letters
    assert letter.body == body
    assert room.kept == []
