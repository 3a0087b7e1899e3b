"""Bodies of forms: multipart, urlencoded and JSON, in declared charsets."""

import json
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import request_bodies
from tests.unit.gateway.harness import GatewayHarness
from tests.unit.gateway.sample_forms import ANN, DEMO, multipart, posted


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
async def test_form_with_a_file_is_415(harness: GatewayHarness, part: tuple[str, bytes], status: int) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), part])
    assert (await harness.request("POST", DEMO, headers, body)).status == status


async def test_nul_in_a_form_is_replaced_and_flagged(harness: GatewayHarness) -> None:
    await harness.form({**ANN, "name": "A\x00nn"})
    [kept] = harness.records
    assert (kept.event.altered, kept.event.person["name"]) == (True, "A\ufffdnn")


async def test_json_form_may_be_nested(harness: GatewayHarness) -> None:
    sent: dict[str, Any] = {"email": "ann@acme.example", "company": {"name": "Acme"}, "consent": True, "score": 3}
    await harness.request("POST", DEMO, {"content-type": "application/json"}, json.dumps(sent).encode())
    assert harness.records[0].event.person == {"company.name": "Acme", "consent": True, "custom.score": 3}


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
async def test_last_value_that_is_not_blank_counts_of_a_repeated_field(
    harness: GatewayHarness, pairs: list[tuple[str, str]], facts: dict[str, Any]
) -> None:
    event = await posted(harness, urlencode([("email", "ann@acme.example"), *pairs]).encode())
    assert event.person == facts
    assert event.email == ("other@acme.example" if pairs[0][0] == "email" else "ann@acme.example")


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
async def test_declared_charset_and_byte_order_mark_are_decoded(
    harness: GatewayHarness, media: str, body: bytes
) -> None:
    event = await posted(harness, body, media)
    assert (event.email, event.person, event.altered) == ("ann@acme.example", {"name": "M\xfcller"}, False)


@pytest.mark.parametrize(
    ("parameter", "part", "also"),
    [
        ("; charset=latin1", "", []),
        ("", "\r\nContent-Type: text/plain; charset=windows-1252", []),
        ("", "", [('name="_charset_"', b"iso-8859-1")]),
    ],
)
async def test_charset_of_a_multipart_form_is_read_from_three_places(
    harness: GatewayHarness, parameter: str, part: str, also: list[tuple[str, bytes]]
) -> None:
    headers, body = multipart([*also, ('name="email"', b"ann@acme.example"), (f'name="name"{part}', b"M\xfcller")])
    event = await posted(harness, b"\xef\xbb\xbf" + body, headers["content-type"] + parameter)
    assert event.person == {"name": "M\xfcller"}


@pytest.mark.parametrize("charset", ["unicode_escape", "idna", "zip", "x" * 10_000, "utf-16"])
async def test_unknown_charset_is_rejected(harness: GatewayHarness, charset: str) -> None:
    headers = {"content-type": f"application/x-www-form-urlencoded; charset={charset}"}
    answer = await harness.request("POST", DEMO, headers, b"email=ann@acme.example&name=%FC")
    assert answer.status in (400, 415)
    assert len(harness.letters) == 1


@given(
    st.lists(st.sampled_from([b"%", b"%4", b"%41", b"%e4%bc", b"+", b"a", b"%zz", b"\xff", b"%%", b"F"])).map(b"".join)
)
def test_percent_decoding_equals_the_standard_library(text: bytes) -> None:
    fields, _ = request_bodies.parse_form(b"x=" + text, request_bodies.URLENCODED, {b"charset": b"latin1"})
    assert fields == {"x": unquote_to_bytes(text.replace(b"+", b" ")).decode("cp1252", "replace")}


async def test_header_of_a_part_over_the_limit_is_rejected(harness: GatewayHarness) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), ("name=a" + ';"' * 600, b"x")])
    assert (await harness.request("POST", DEMO, headers, body)).status == 400
    assert [letter.body for letter in harness.letters] == [body]


@pytest.mark.parametrize("part", ['name="a"' + ";=" * 11, 'name="a"\r\ncontent-type: text/plain' + ";=" * 11])
async def test_parameters_of_a_part_over_the_limit_are_rejected(harness: GatewayHarness, part: str) -> None:
    headers, body = multipart([('name="email"', b"ann@acme.example"), (part, b"x")])
    assert (await harness.request("POST", DEMO, headers, body)).status == 400
    assert [letter.body for letter in harness.letters] == [body]
