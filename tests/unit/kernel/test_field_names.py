"""The meaning of the names that forms and lists use."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.field_aliases import ALIASES
from firsthour.kernel.field_names import ALIAS, CHOSEN, LEARNED_MAX, OWN, OWN_NAMES, FieldNames, fold
from schemas.form_fields import FORM_FIELDS

NAMES = FieldNames()


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("first_name", "firstname FirstName First-Name Vorname prénom PRENOM nombre 0-1/firstname fname"),
        ("last_name", "lastname Nachname apellidos names.last_name wpforms.fields.0.last"),
        ("title", "jobtitle Job_Title__c Funktion poste cargo role"),
        ("email", "E-Mail your-email email-901 form_fields.email Courriel correo-electronico workemail"),
        ("phone", "mobilephone MobilePhone your-tel tel-445 Handynummer téléphone móvil phone_number"),
        ("company.name", "company Firma entreprise empresa société organisation 0-2/name company-name"),
        (
            "company.employees",
            "numemployees NumberOfEmployees employees company_size Unternehmensgröße Unternehmensgroesse effectif",
        ),
        (
            "company.employees",
            "Mitarbeiterzahl Nombre_d'employés N.º_de_empleados company[employees] 0-2/numberofemployees",
        ),
        ("company.domain", "website Webseite site_web sitio-web"),
        ("country", "Land Pays País country"),
        ("message", "your-message Nachricht Mensaje comments textarea-12"),
        ("utm.source", "utm_source UTM-Source utm.source"),
    ],
)
def test_name_in_common_use_has_its_meaning(field: str, names: str) -> None:
    assert {name: (NAMES[name] or (0, ""))[1] for name in names.split()} == dict.fromkeys(names.split(), field)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ("What is your first name?", "first_name"),
        ("What's your email address?", "email"),
        ("What\u2019s your job title?", "title"),
        ("Your company", "company.name"),
        ("Wie lautet Ihre E-Mail-Adresse?", "email"),
        ("Wie ist Ihr Nachname?", "last_name"),
        ("Quel est votre nom ?", "last_name"),
        ("¿Cuál es su empresa?", "company.name"),
    ],
)
def test_question_for_a_field_means_the_field(question: str, field: str) -> None:
    meaning = FieldNames()[question]
    assert meaning is not None
    assert meaning[1] == field


def test_every_alias_means_its_field_and_no_other() -> None:
    meanings = defaultdict(set)
    for names in ALIASES.values():
        for field, aliases in names.items():
            for alias in aliases:
                meanings[fold(alias)].add(field)
                assert (NAMES[alias] or (0, ""))[1] == field
    assert {name: fields for name, fields in meanings.items() if len(fields) > 1} == {}
    assert {field for names in ALIASES.values() for field in names} <= {*FORM_FIELDS, "crm_id"}


def test_own_name_never_means_anything_else() -> None:
    assert {name: NAMES[name] for name in OWN_NAMES} == {name: (OWN, field) for name, field in OWN_NAMES.items()}


@pytest.mark.parametrize("name", ["", "custom.jobtitle", "favourite colour", "x" * 101, "utm", "custom", "-", "ß" * 90])
def test_other_name_is_unknown(name: str) -> None:
    assert NAMES[name] is None


def test_chosen_name_comes_before_ours_and_before_aliases() -> None:
    names = FieldNames({"phone": "Mobile No", "company": "email", "custom.size": "company_size"})
    assert [names[name] for name in ("mobile-no", "email", "company_size", "phone", "jobtitle")] == [
        (CHOSEN, "phone"),
        (CHOSEN, "company.name"),
        (CHOSEN, "custom.size"),
        (OWN, "phone"),
        (ALIAS, "title"),
    ]


def test_field_that_no_name_may_mean_is_unknown() -> None:
    names = FieldNames(control=("_id",), leave=("crm_id",))
    assert [names[name] for name in ("crm_id", "CRM-ID", "hs_object_id", "_id")] == [None, None, None, (OWN, "")]


def test_table_remembers_a_bounded_number_of_names() -> None:
    names = FieldNames()
    before = len(names)
    for n in range(2 * LEARNED_MAX):
        assert names[f"field {n}x"] is None
    assert len(names) == before + LEARNED_MAX
    assert names["Vorname"] == (ALIAS, "first_name")


@given(st.text(max_size=150))
def test_any_name_has_one_meaning_at_most_whether_it_is_remembered_or_not(name: str) -> None:
    assert FieldNames()[name] == NAMES[name] == NAMES[name]
    assert fold(fold(name)) == fold(name) or not name.isascii()
