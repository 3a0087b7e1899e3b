"""The names of form fields: aliases, two fields of one meaning, and the names that a source chooses."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.unit.gateway.harness import SOURCES, GatewayHarness
from tests.unit.gateway.sample_forms import posted

ANN = {"email": "ann@acme.example"}


async def person(harness: GatewayHarness, fields: dict[str, Any]) -> Any:
    """Return the facts of a form that a script posts."""
    return (await posted(harness, json.dumps(ANN | fields).encode(), "application/json")).person


async def test_form_of_a_marketing_tool_loses_nothing(harness: GatewayHarness) -> None:
    fields = {
        "firstname": "Ann",
        "lastname": "Lee",
        "jobtitle": "CEO",
        "numemployees": "500+",
        "mobilephone": "+4930123456",
    }
    event = await posted(harness, urlencode(ANN | fields).encode())
    assert event.phone == "+4930123456"
    assert event.person == {"first_name": "Ann", "last_name": "Lee", "title": "CEO", "company.employees": 500}


@pytest.mark.parametrize(
    "fields",
    [
        {"Vorname": "Ann", "Firma": "Acme", "Mitarbeiterzahl": "1.000", "Nachricht": "hi"},
        {"prénom": "Ann", "entreprise": "Acme", "Nombre d'employés": "de 1000 à 5000", "votre message": "hi"},
        {"nombre": "Ann", "empresa": "Acme", "número de empleados": "entre 1.000 y 5.000", "mensaje": "hi"},
        {
            "form_fields[firstname]": "Ann",
            "form_fields[company]": "Acme",
            "company-size": "1000+",
            "your-message": "hi",
        },
    ],
)
async def test_names_of_other_languages_and_plugins_are_understood(
    harness: GatewayHarness, fields: dict[str, str]
) -> None:
    event = await posted(harness, urlencode(ANN | fields).encode())
    assert event.fields["message"] == "hi"
    facts = {"first_name": "Ann", "company.name": "Acme", "company.employees": 1000, "custom.message": "hi"}
    assert event.person == facts


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"title": "CEO", "jobtitle": "Boss"}, {"title": "CEO", "custom.jobtitle": "Boss"}),
        ({"jobtitle": "Boss", "title": "CEO"}, {"title": "CEO", "custom.jobtitle": "Boss"}),
        ({"title": "", "jobtitle": "Boss"}, {"title": "Boss"}),
        ({"title": " ", "jobtitle": ["", "Boss"]}, {"title": "Boss"}),
        ({"jobtitle": "CEO", "role": "Buyer"}, {"title": "CEO", "custom.role": "Buyer"}),
        ({"Title": "CEO", "jobtitle": "Boss"}, {"title": "CEO", "custom.jobtitle": "Boss"}),
        ({"company": "Acme", "company_name": "Acme Inc"}, {"company.name": "Acme", "custom.company_name": "Acme Inc"}),
        ({"company": {"name": "Acme"}, "jobtitle": ""}, {"company.name": "Acme"}),
        ({"jobtitle": {"a": "b"}}, {"custom.title.a": "b"}),
    ],
)
async def test_of_two_fields_the_filled_then_the_own_name_counts(
    harness: GatewayHarness, fields: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert await person(harness, fields) == facts


async def test_second_address_and_phone_are_kept(harness: GatewayHarness) -> None:
    event = await posted(harness, urlencode([("E-Mail", "bo@acme.example"), *ANN.items(), ("tel", "")]).encode())
    assert (event.email, event.person) == ("ann@acme.example", {"custom.E-Mail": "bo@acme.example"})


async def test_alias_of_a_crm_id_is_a_custom_fact(harness: GatewayHarness) -> None:
    assert await person(harness, {"hs_object_id": "7", "CRM ID": "8"}) == {
        "custom.hs_object_id": "7",
        "custom.CRM_ID": "8",
    }


async def test_names_chosen_by_the_source_come_first(harness: GatewayHarness) -> None:
    chosen = "honeypot: fax\n    fields: {phone: call me on, company.employees: Size, custom.plan: title}"
    harness.configure(SOURCES.replace("honeypot: fax", chosen))
    fields = {"phone": "+4930999999", "Call-Me-On": "+4930123456", "size": "51-200", "employees": "7", "title": "Pro"}
    event = await posted(harness, urlencode(ANN | fields).encode())
    assert event.phone == "+4930123456"
    assert event.person == {
        "company.employees": 51,
        "custom.employees": "7",
        "custom.phone": "+4930999999",
        "custom.plan": "Pro",
    }
