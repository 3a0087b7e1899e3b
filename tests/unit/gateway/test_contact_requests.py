"""Which events may be requests for contact: the gateway knows the event, and not the lead."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.agreement.scoring import QualifyLine
from services.gateway.domain.contact_requests import is_request, requests_of
from services.gateway.domain.mapping import parse_event

NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)


def _is_request(
    when: Any, *, type: str = "form.submitted", email: str | None = "ann@acme.example", **data: Any
) -> bool:
    line = QualifyLine.model_validate({"name": "line", "urgency": "hot", "on": "form.submitted", "when": when})
    sent = {"id": "1", "type": type, "email": email, "anonymous_id": "a", "data": data}
    event = parse_event({name: value for name, value in sent.items() if value}, origin="x", scope="x", now=NOW)
    return is_request(requests_of([line]), event)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"form": "demo"}, True),
        ({"form": "newsletter"}, False),
        ({"form": "demo", "total": {"gte": 60}}, True),  # the score is not known here
        ({"form": "demo", "not": {"total": {"gte": 60}}}, True),
        ({"form": "demo", "not": {"any": [{"status": "customer"}, {"form": "demo"}]}}, False),
        ({"form": "demo", "not": {"email.kind": "business"}}, False),
        ({"any": [{"form": "other"}, {"company.employees": {"gte": 50}}]}, True),
        ({"custom.plan": "free", "form": "newsletter"}, False),
    ],
)
def test_tests_of_the_lead_count_as_met_and_tests_of_the_event_count(when: Any, expected: bool) -> None:
    assert _is_request(when, form="demo") is expected


def test_event_of_another_type_is_no_request() -> None:
    assert not _is_request({"form": "demo"}, type="content.downloaded", form="demo")


def test_person_who_cannot_be_reached_and_a_disposable_address_are_no_request() -> None:
    assert not _is_request({"form": "demo"}, email=None, form="demo")
    assert not _is_request({"form": "demo"}, email="a@mailinator.com", form="demo")
    assert _is_request({"form": "demo"}, email=None, form="demo", phone="+49 30 1234567")
