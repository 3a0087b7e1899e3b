"""Bodies of webhooks that are not JSON, and lists inside a body."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import retry
from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.xml_body import parse_xml
from tests.unit.gateway.harness import HMAC_SECRET, Answer, GatewayHarness

SOURCE = """
sources:
  - id: vendor
    kind: webhook
    verify: {scheme: header, header: X-Key, secrets: [{file: phone.secret}]}
    FORMAT
    events:
      - {EVENT}
"""
FORM = "application/x-www-form-urlencoded"
ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>
<notifications xmlns="http://soap.example/outbound"><OrganizationId>00D</OrganizationId>
<Notification><Id>04l1</Id><sObject><Email>ann@acme.example</Email><Company>Ümlaut &amp; Söhne</Company></sObject></Notification>
<Notification><Id>04l2</Id><sObject><Email>lee@acme.example</Email></sObject></Notification>
</notifications></soapenv:Body></soapenv:Envelope>""".encode()


def configure(harness: GatewayHarness, event: str, format: str = "") -> None:
    harness.configure(SOURCE.replace("FORMAT", format).replace("EVENT", event))


async def post(harness: GatewayHarness, body: bytes, content_type: str = "application/json") -> Answer:
    headers = {"content-type": content_type, "x-key": HMAC_SECRET}
    return await harness.request("POST", "/hooks/vendor", headers, body)


def people(harness: GatewayHarness) -> list[tuple[str | None, Mapping[str, Any]]]:
    return [(record.event.email, record.event.person) for record in harness.records]


async def test_form_with_brackets_is_mapped_as_an_object(harness: GatewayHarness) -> None:
    configure(harness, "type: lead.updated, email: contact.email, data: {company: contact.fields.company}")
    body = b"type=update&contact[email]=Ann%40acme.example&contact[fields][company]=Acme&list=0"
    assert (await post(harness, body, FORM)).status == 202
    assert people(harness) == [("ann@acme.example", {"company.name": "Acme"})]


async def test_multipart_form_with_json_inside_is_mapped(harness: GatewayHarness) -> None:
    configure(harness, "type: lead.updated, email: from_json(rawRequest).q3_email")
    part = (
        '--x\r\nContent-Disposition: form-data; name="rawRequest"\r\n\r\n{"q3_email":"ann@acme.example"}\r\n--x--\r\n'
    )
    assert (await post(harness, part.encode(), "multipart/form-data; boundary=x")).status == 202
    assert people(harness)[0][0] == "ann@acme.example"


async def test_notifications_in_xml_are_mapped_one_by_one(harness: GatewayHarness) -> None:
    configure(
        harness,
        "each: 'Envelope.Body.notifications.Notification', type: lead.updated, id: Id, email: sObject.Email,"
        " data: {company: sObject.Company, custom.org: _body.Envelope.Body.notifications.OrganizationId}",
    )
    answer = await post(harness, ENVELOPE, "text/xml; charset=utf-8")
    assert (answer.status, answer.json) == (202, {"ids": ["04l1", "04l2"]})
    assert people(harness)[0] == ("ann@acme.example", {"company.name": "Ümlaut & Söhne", "custom.org": "00D"})


async def test_format_of_the_source_counts_more_than_the_content_type(harness: GatewayHarness) -> None:
    configure(harness, "type: lead.updated, email: email", "format: json")
    assert (await post(harness, b'{"email":"ann@acme.example"}', "text/plain")).status == 202
    assert (await post(harness, b'{"email":"ann@acme.example"}', FORM)).status == 202


async def test_unknown_content_type_is_kept(harness: GatewayHarness) -> None:
    configure(harness, "type: lead.updated, email: email")
    answer = await post(harness, b"email: ann@acme.example", "application/yaml")
    assert (answer.status, len(harness.letters)) == (202, 1)


async def test_bad_part_is_kept_with_its_whole_body_and_can_be_retried(harness: GatewayHarness) -> None:
    configure(harness, "each: people, type: lead.updated, email: mail")
    body = json.dumps({"people": [{"mail": "ann@acme.example"}, {"mail": "nobody"}, {"mail": "nobody2"}]}).encode()
    answer = await post(harness, body)
    assert (answer.status, len(harness.records)) == (202, 1)
    [letter] = harness.letters
    assert letter.body == body
    corrected = body.replace(b"nobody2", b"max@acme.example").replace(b"nobody", b"lee@acme.example")
    before = harness.records[0].row.event_id
    await harness.units.run(lambda unit: retry.retry(unit, letter, corrected))
    assert [record.event.email for record in harness.records[1:]] == [
        "ann@acme.example",
        "lee@acme.example",
        "max@acme.example",
    ]
    assert harness.records[1].row.event_id == before  # the part that was accepted has no further effect


async def test_entries_without_each_and_with_each_both_count(harness: GatewayHarness) -> None:
    harness.configure(
        SOURCE.replace("FORMAT", "").replace(
            "- {EVENT}", "- {type: custom.a, email: email}\n      - {each: others, type: custom.b, email: email}"
        )
    )
    await post(harness, b'{"email":"ann@acme.example","others":{"email":"lee@acme.example"}}')
    assert [(record.type, record.event.email) for record in harness.records] == [
        ("custom.a", "ann@acme.example"),
        ("custom.b", "lee@acme.example"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"a",
        b"\xff\xfe",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<?xml version='1.0' encoding='none'?><a/>",
        b"<a>&#0;</a>",
        b"<a>" * 60 + b"</a>" * 60,
        b"<a>" + b"<b/>" * 30_000 + b"</a>",
    ],
)
def test_hostile_xml_is_refused(body: bytes) -> None:
    with pytest.raises(UnmappableError):
        parse_xml(body)


@given(st.binary(max_size=200) | st.text(alphabet="<>/ab='\"&;!?-[] \n", max_size=60).map(str.encode))
def test_any_bytes_are_xml_or_refused(body: bytes) -> None:
    try:
        parse_xml(body)
    except UnmappableError:
        return
