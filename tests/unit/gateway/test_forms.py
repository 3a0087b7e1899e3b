"""POST /v1/forms/{form}: events of forms, retries, robots, dead letters."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from services.gateway import retry
from tests.unit.gateway.harness import SOURCES, GatewayHarness
from tests.unit.gateway.sample_forms import ANN, DEMO, multipart, posted


async def test_form_is_stored_with_the_facts_about_the_person(harness: GatewayHarness) -> None:
    answer = await harness.form(ANN, referer="https://www.acme.example/demo?x=1")

    assert answer.status == 202
    [record] = harness.records
    assert (record.type, record.event.source, record.event.email) == ("form.submitted", "website", "ann@acme.example")
    assert answer.json == {"ids": [record.event.source_id]}
    assert record.event.fields == {"form": "demo-request", "path": "/demo", "message": "hi"}
    assert record.event.person == {
        "name": "Ann",
        "company.name": "Acme",
        "company.employees": 1200,
        "utm.source": "ad",
        "custom.message": "hi",
    }


async def test_urlencoded_multipart_and_json_give_the_same_event(harness: GatewayHarness) -> None:
    headers, body = multipart([(f'name="{name}"', value.encode()) for name, value in ANN.items()])
    assert (await harness.request("POST", DEMO, headers, body)).status == 202
    assert (
        await harness.request("POST", DEMO, {"content-type": "application/json"}, json.dumps(ANN).encode())
    ).status == 202
    assert (await harness.form(ANN)).status == 202
    first, *others = harness.records
    assert all((one.event.person, one.event.fields) == (first.event.person, first.event.fields) for one in others)


async def test_posts_without_a_key_are_separate_events(harness: GatewayHarness) -> None:
    for _ in range(2):
        assert (await harness.form(ANN)).status == 202
    assert len({row.event_id for row in harness.units.rows}) == 2


@pytest.mark.parametrize("key", [{"id": "7"}, {"_id": "7"}])
async def test_form_with_the_same_id_and_fields_is_a_retry_for_a_day(
    harness: GatewayHarness, key: dict[str, str]
) -> None:
    first = await harness.form({**ANN, **key})
    harness.clock.advance(hours=23, minutes=59)
    again = await harness.form({**ANN, **key})
    assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
    assert len(harness.records) == 1


async def test_other_fields_under_the_same_hidden_id_are_another_event(harness: GatewayHarness) -> None:
    await harness.form({**ANN, "id": "7"})
    for fields in ({**ANN, "id": "7", "message": "and a second thing"}, {**ANN, "id": "7", "email": "bo@acme.example"}):
        answer = await harness.form(fields)
        assert (answer.status, answer.json) == (202, {"ids": ["7"]})
    harness.clock.advance(hours=24, seconds=1)
    await harness.form({**ANN, "id": "7"})
    assert len({row.event_id for row in harness.units.rows}) == len(harness.units.rows) == 4


async def test_retry_with_another_boundary_is_replayed(harness: GatewayHarness) -> None:
    parts = [(f'name="{name}"', value.encode()) for name, value in {**ANN, "_id": "7"}.items()]
    for boundary in ("one", "two"):
        headers, body = multipart(parts, boundary)
        assert (await harness.request("POST", DEMO, headers, body)).status == 202
    assert len(harness.records) == 1


async def test_retry_has_the_same_event_id_if_keys_cannot_be_stored(harness: GatewayHarness) -> None:
    harness.units.keyless = True
    for _ in range(2):
        assert (await harness.form({**ANN, "id": "7"})).status == 202
    assert len({row.event_id for row in harness.units.rows}) == 1


async def test_idempotency_key_of_another_form_is_422_and_the_body_kept(harness: GatewayHarness) -> None:
    assert (await harness.form(ANN, idempotency_key="k1")).status == 202
    answer = await harness.form({**ANN, "message": "another"}, idempotency_key="k1")
    assert (answer.status, answer.pointer) == (422, "header:Idempotency-Key")
    assert len(harness.records) == 1


async def test_idempotency_key_is_the_id_of_a_form(harness: GatewayHarness) -> None:
    first = await harness.form(ANN, idempotency_key="k1")
    again = await harness.form(ANN, idempotency_key="k1")
    assert first.json == again.json == {"ids": ["k1"]}
    assert again.headers["idempotent-replayed"] == "true"
    assert len(harness.records) == 1


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
async def test_form_without_email_and_phone_names_the_remedy(
    harness: GatewayHarness, fields: dict[str, str], pointer: str
) -> None:
    answer = await harness.form(fields)
    assert (answer.status, answer.pointer) == (422, pointer)
    assert "; " in answer.json["errors"][0]["detail"]
    [letter] = harness.letters
    assert (harness.records, letter.id, letter.source) == ([], answer.json["dead_letter"], "website")
    assert letter.body == urlencode(fields).encode()


async def test_form_with_a_phone_alone_is_accepted(harness: GatewayHarness) -> None:
    assert (await harness.form({"phone": "030 123456", "country": "Germany"})).status == 202
    assert harness.records[0].event.phone == "+4930123456"


async def test_crm_id_of_a_form_is_a_custom_fact(harness: GatewayHarness) -> None:
    await harness.form({**ANN, "crm_id": "0031"})
    [record] = harness.records
    assert record.event.crm_id is None
    assert record.event.person["custom.crm_id"] == "0031"


async def test_field_names_are_read_in_any_case(harness: GatewayHarness) -> None:
    await harness.form({"Email": "ann@acme.example", "First-Name": "Ann", "company[name]": "Acme", "Interest": "x"})
    [record] = harness.records
    assert record.event.person == {"first_name": "Ann", "company.name": "Acme", "custom.Interest": "x"}


async def test_field_with_brackets_is_a_list(harness: GatewayHarness) -> None:
    body = urlencode([("email", "ann@acme.example"), ("topics[]", "a"), ("topics[]", "b")]).encode()
    await harness.request("POST", DEMO, {"content-type": "application/x-www-form-urlencoded"}, body)
    assert harness.records[0].event.person == {"custom.topics": "a, b"}


async def test_unknown_form_is_404_and_names_the_remedy(harness: GatewayHarness) -> None:
    answer = await harness.form(ANN, form="nowhere")
    assert answer.status == 404
    assert "`forms:`" in answer.json["detail"]
    harness.configure(SOURCES.replace("newsletter]", "nowhere]"))
    assert (await harness.form(ANN, form="nowhere")).status == 202


async def test_form_gets_503_if_storage_is_full(harness: GatewayHarness) -> None:
    harness.units.full = True
    answer = await harness.form(ANN, accept="text/html")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_form_of_a_robot_is_answered_202_and_kept_apart(harness: GatewayHarness) -> None:
    answer = await harness.form({**ANN, "fax": "123"}, accept="text/html")
    assert (answer.status, harness.records) == (303, [])
    [letter] = harness.letters
    assert (letter.error, letter.origin.partition("#")[0]) == ("honeypot", DEMO)
    assert (await harness.form({"fax": "123"})).status == 202
    assert (await harness.form({**ANN, "fax": ""})).status == 202
    assert "custom.fax" not in harness.records[0].event.person


async def test_kept_form_of_a_robot_can_be_retried(harness: GatewayHarness) -> None:
    headers, body = multipart(
        [(f'name="{name}"', value.encode()) for name, value in {**ANN, "fax": "1"}.items()], "a b'c"
    )
    headers = {"content-type": 'multipart/form-data; boundary="a b\'c"'}
    answer = await harness.request("POST", DEMO, headers, body)
    [letter] = harness.letters
    assert await harness.units.run(lambda unit: retry.retry(unit, letter)) == answer.json["ids"]
    assert harness.records[0].event.email == "ann@acme.example"


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
async def test_body_that_is_not_a_form_is_rejected_and_kept(
    harness: GatewayHarness, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await harness.request("POST", DEMO, headers, body)
    assert answer.status == status
    title = "Invalid JSON" if headers.get("content-type") == "application/json" else "Malformed body"
    assert answer.json["title"] == title or status != 400
    is_kept = bool(body) and status != 413
    assert [(letter.body, letter.content_type) for letter in harness.letters] == (
        [(body, headers.get("content-type", ""))] if is_kept else []
    )
    assert answer.json.get("dead_letter") == (harness.letters[0].id if is_kept else None)


@pytest.mark.parametrize("email", ["n/a", "-", "none@", "ann@acme,example"])
async def test_form_with_a_bad_email_and_a_good_phone_is_accepted(harness: GatewayHarness, email: str) -> None:
    event = await posted(harness, urlencode({"email": email, "phone": "+49 30 123456"}).encode())
    assert (event.email, event.phone, event.person) == (None, "+4930123456", {"custom.email": email})


async def test_unencoded_plus_of_a_phone_number_is_restored(harness: GatewayHarness) -> None:
    event = await posted(harness, b"email=n/a&phone=+49 30 123456")
    assert event.phone == "+4930123456"
    event = await posted(harness, b"phone= 030 123456&country=DE&email= 1@acme.example")
    assert (event.phone, event.email) == ("+4930123456", "1@acme.example")
    answer = await harness.request(
        "POST", DEMO, {"content-type": "application/x-www-form-urlencoded"}, b"phone= 030 123456"
    )
    assert answer.status == 422


@pytest.mark.parametrize("name", ["email", "phone", "anonymous_id"])
@pytest.mark.parametrize("value", [False, 1.5, {"value": "1"}, "1" * 600])
async def test_identifier_that_is_not_text_becomes_a_custom_fact(
    harness: GatewayHarness, name: str, value: object
) -> None:
    good = {"phone": "+4930123456"} if name == "email" else {"email": "ann@acme.example"}
    event = await posted(harness, json.dumps(good | {name: value}).encode(), "application/json")
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
async def test_form_with_rejected_headers_is_kept(
    harness: GatewayHarness, headers: dict[str, str], status: int
) -> None:
    await harness.form({"email": "bo@acme.example"}, **{"idempotency-key": "used"})
    answer = await harness.form(ANN, **headers)
    assert answer.status == status
    assert [letter.id for letter in harness.letters] == [answer.json["dead_letter"]]
    assert harness.letters[0].body == urlencode(ANN).encode()


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"your-email": "ann@acme.example", "your-name": "Ann", "your-message": "hi"}, "Ann"),
        ({"E-Mail": "ann@acme.example", "Full Name": "Ann", "Comments": "hi"}, "Ann"),
        ({"email": "ann@acme.example", "your-email": "", "name": "Ann", "your_name": "", "message": "hi"}, "Ann"),
    ],
)
async def test_field_names_of_form_plugins_are_mapped(
    harness: GatewayHarness, fields: dict[str, str], read: str
) -> None:
    event = await posted(harness, urlencode(fields).encode())
    assert (event.email, event.person["name"], event.fields["message"]) == ("ann@acme.example", read, "hi")


async def test_company_size_of_a_menu_is_a_number(harness: GatewayHarness) -> None:
    for name in ("employees", "company_size", "company[employees]", "number-of-employees"):
        event = await posted(harness, urlencode({"email": "ann@acme.example", name: "201-500 employees"}).encode())
        assert event.person == {"company.employees": 201}


async def test_kept_form_can_be_corrected_and_retried(harness: GatewayHarness) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), ('name="cv"; filename="cv.pdf"', b"%PDF")])
    assert (await harness.request("POST", DEMO, headers, body)).status == 415
    [letter] = harness.letters
    assert letter.body == body
    _, corrected = multipart([('name="email"', b"ann@acme.example")])
    await harness.units.run(lambda unit: retry.retry(unit, letter, corrected))
    assert harness.records[0].event.email == "ann@acme.example"


@pytest.mark.parametrize("value", ["false", "False", "0", "off", "no", "", " ", "\u3164"])
async def test_unchecked_honeypot_is_not_a_robot(harness: GatewayHarness, value: str) -> None:
    await posted(harness, urlencode({**ANN, "fax": value}).encode())
    assert harness.letters == []


@pytest.mark.parametrize("value", [False, 0, None, "", [], {}, [False, "0"]])
async def test_empty_honeypot_of_a_script_is_not_a_robot(harness: GatewayHarness, value: Any) -> None:
    await posted(harness, json.dumps({**ANN, "fax": value}).encode(), "application/json")
    assert harness.letters == []


@pytest.mark.parametrize("value", [True, 1, "true", "on", "1", "x", ["", "x"], {"a": 1}])
async def test_filled_honeypot_of_any_type_is_a_robot(harness: GatewayHarness, value: Any) -> None:
    body = json.dumps({**ANN, "fax": value}).encode()
    assert (await harness.request("POST", DEMO, {"content-type": "application/json"}, body)).status == 202
    assert (len(harness.letters), harness.records) == (1, [])


async def test_form_larger_than_a_record_is_rejected_and_kept(harness: GatewayHarness) -> None:
    quotes = '"' * 2_000  # each takes two bytes in an event
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    fields = {"email": "ada@acme.example", **{f"f{n}": quotes for n in range(120)}}
    body = ("".join(part.format(*field) for field in fields.items()) + "--b--\r\n").encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = await harness.request("POST", "/v1/forms/demo-request", headers, body)
    assert answer.status == 413
    assert "256 KiB" in answer.body.decode()
    [letter] = harness.letters
    assert letter.body == body
    assert harness.records == []
