"""Conditions that never or always hold, and rules that are never reached, are reported with position and remedy."""

import re
import sys
from types import FrameType

import pytest
from pydantic import BaseModel

from firsthour.kernel.conditions.evaluation import matches, trace
from firsthour.runtime.config import error_messages
from firsthour.runtime.config.reading import load
from schemas.agreement.agreement import Agreement
from schemas.conditions.parser import parse
from schemas.sources import Sources
from schemas.team import Team
from tests.unit.runtime.config.harness import EXAMPLES, ConfigHarness

A, T = "agreement.yaml", "team.yaml"
FRENCH, LARGE, CAN = "{language: fr}", "{company.employees: {gte: 1000}}", "{total: {gte: 55}, fit: {gte: 40}}"
CONTACT = "when: {form: {in: [demo-request, contact-sales]}, not: {email.kind: disposable}}"
LADDER = """
    - {at: 0m, page: owner, by: [inbox]}
    - {at: 15m, page: owner, by: [inbox]}
    - {at: 25m, page: manager, by: [inbox]}
    - {at: 35m, reassign: true}"""
SUPPRESS = "when: {email.domain: {in: [ourcompany.example]}}"

ERRORS = [
    (FRENCH, "{country: «Germny}", "`Germny` is not a country, so `country` never has this value; did you mean `DE` (germany)?"),
    (FRENCH, "{company.country: {in: [DE, «XX]}}", "write its two-letter code, such as DE or GB"),
    (FRENCH, "{email.kind: «busines}", "`busines` is not a value of `email.kind`; did you mean `business`?"),
    (FRENCH, "{grade: «E}", "`E` is not a value of `grade`; use one of: A, B, C, D"),
    (FRENCH, "{status: {ne: «workng}}", "did you mean `working`?"),
    (FRENCH, "{urgency: «hott}", "did you mean `hot`?"),
    (FRENCH, "{account.owner: «nor}", "did you mean `noor`?"),
    (FRENCH, "{persona: «boss}", "`boss` is not a value of `persona`; remove it"),
    (FRENCH, "{email: «ana at corp}", "`ana at corp` is not an email address"),
    (FRENCH, "{email.domain: «nothing}", "is not the domain of an email address"),
    (FRENCH, "{company.domain: «Acme}", "is not the domain of a company"),
    (FRENCH, "{phone: «030 123456}", "is not a phone number with its country code"),
    (FRENCH, "{form: «“demo-request”}", 'the curly quotes are part of the value `“demo-request”`; write `"demo-request"`'),
    (FRENCH, "{custom.plan: {in: [a, «‘b’]}}", "the curly quotes are part of the value"),
    (FRENCH, "{title: {has_word: «„Leiter“}}", "the curly quotes are part of the value"),
    (LARGE, '{company.employees: {gte: «"1000"}}', "takes a number, and `1000` is not; remove the quotes"),
    (FRENCH, "{email.domain: {matches_domain: «co.uk}}", "`co.uk` is a public suffix, under which everyone has a domain; name a domain"),
    (FRENCH, "{email.domain: {matches_domain: [a.com, «acme]}}", "`acme` is not a domain; write it such as acme.com"),
    (FRENCH, "{email.domain: {matches_domain: «https://acme.com/x}}", "is not a domain; write `acme.com`"),
    (FRENCH, "{starts_at: {within: «soon}}", "`soon` is not a time span; write a duration such as `14d` for the last 14 days"),
    (FRENCH, "{title: {«within: 3d}}", "`within` does not work on `title`, which is text"),
    (LARGE, '{consent: «"true"}', "remove the quotes"),
    ("points: 35", 'points: «"35"', "`35` in quotes is text, not a number; remove the quotes"),
    ("version: 1", 'version: «"1"', "`1` in quotes is text; remove the quotes"),
    ("{at: 35m, reassign: true}", '{at: 35m, reassign: «"true"}', "remove the quotes"),
    ("reassign_at_most: 1", 'reassign_at_most: «"1"', "remove the quotes"),
    ("require: {languages: fr}", "require: {languages: «fr-FR}", "`fr-FR` is not a language code; write `fr`"),
    ("\nsuppress:", "\npromises: {marketing: [{complete: [«emial], share: 1}]}\nsuppress:", "did you mean `email`?"),
    ("\nsuppress:", "\ngoals: [{period: «2026-Q5, revenue: 1, currency: EUR}]\nsuppress:", "such as 2026, 2026-Q4 or 2026-11"),
]  # fmt: skip
TEAM_ERRORS = [
    ("domain: longstanding-customer.example", "domain: «www.acme.com", "write `acme.com`"),
    ("domain: longstanding-customer.example", "domain: «münchen.de", "write `xn--mnchen-3ya.de`"),
    ("domain: longstanding-customer.example", "domain: «co.uk", "write the domain of the company, such as acme.com"),
    ("languages: [en, fr, pt]", "languages: [«English]", "write `en`"),
]
WARNINGS = [
    (A, FRENCH, "{form: «newsleter}", "`newsleter` is not a form of sources.yaml; did you mean `newsletter`?"),
    (A, FRENCH, "{form: «webinar-2026}", "`webinar-2026` is not a form of sources.yaml; only /v1/events can send it"),
    (A, FRENCH, "{language: «frenhc}", "`frenhc` is not a known language; did you mean `fr` (french)?"),
    (A, CAN, "{total: {gte: «155}}", "`total` lies between 0 and 100, so this never holds; change the bound"),
    (A, CAN, "{engagement: {gt: «100}}", "`engagement` lies between 0 and 100, so this never holds"),
    (A, CAN, "{total: {gte: «0}}", "`total` lies between 0 and 100, so this always holds"),
    (A, CAN, "«{company.employees: {gt: 10, lt: 5}}", "the tests of `company.employees` exclude each other, so this never holds"),
    (A, "total: {fit: 0.5, engagement: 0.5}", "total: «{fit: 0.7, engagement: 0.5}", "the weights add up to 1.2"),
    (A, "{A: 75, B: 50, C: 25}", "{A: «101, B: 50, C: 25}", "fit is at most 100, so no lead has the grade A; lower its floor"),
    (A, "{phone: {exists: true}}", "{fit: {gte: «10}}", "`fit` has no value when the score is computed"),
    (A, SUPPRESS, "when: {grade: «D}", "`grade` has no value when suppression is decided"),
    (A, CAN, "{touches: {gte: «3}}", "`touches` has no value when the lines of `qualify` are judged, so this never holds"),
    (A, SUPPRESS, "when: «{any: [{email: {exists: true}}, {email: {exists: false}}]}", "this holds for every person"),
    (A, "{at: 35m, reassign: true}", "{at: «90m, reassign: true}", "the rung at 1h30m comes later than the promise of hot (1h)"),
    (A, "    - name: Large companies", "    - name: All\n      pool: growth\n    - name: «Large companies", "comes after `All`, which takes every"),
    (A, "    - name: French speakers\n      when: {language: fr}", f"    - name: «Twice\n      when: {LARGE}", "has the condition of `Large companies`"),
    (A, CONTACT, "\n  - {name: «Later, urgency: warm, on: form.submitted, when: {form: newsletter}}", "comes after `Asked for us`"),
    (A, CAN, "«{title: [x]}".replace("[x]", "{in: [ceo, cto]}, not: {title: {starts_with: c}}"), "the tests of `title` exclude"),
    (A, CAN, "{any: [{fit: {gte: 5}}, «{path: {starts_with: /a}, not: {path: {contains: a}}}]}", "so this alternative never holds"),
    (A, CAN, "«{not: {any: [{phone: {exists: true}}, {phone: {exists: false}}]}}", "the tests of `phone` exclude each other"),
    (A, CAN, "«{starts_at: {gte: 2027-01-01, lt: 2026-12-31}}", "the tests of `starts_at` exclude each other"),
    (A, "    - name: French speakers\n      when: {language: fr}", "    - name: «Huge\n      when: {company.employees: {gt: 5000}, country: DE}", "comes after `Large companies`, which takes every lead that it would"),
    (A, "\nrearm_below", "\n  - {name: «Again, urgency: warm, when: {total: {gte: 90}, fit: {gte: 60}}}\nrearm_below", "which meets every lead that it would, so it is never met first"),
    (A, "{company.employees: {between: [100, 5000]}}", "«{company.employees: {between: [120, 5000]}}", "no rule covers `company.employees` from 100 to 119"),
    (A, "require: {languages: fr}", "require: {languages: «ja}", "no member of the pool `growth` speaks `ja`"),
    (A, "budget: {pages: 6, per: 10m}", "budget: {pages: 6, per: «2h}", "waits up to 2h, longer than the promise of hot (1h); shorten it"),
    (A, LADDER, " «[]", "no rung pages the owner"),
    (A, LADDER, " «[{at: 35m, reassign: true}]", "no rung pages the owner"),
    (A, LADDER, " «[{at: 0m, page: manager}, {at: 35m, reassign: true}]", "no rung pages the owner"),
    (T, "domain: longstanding-customer.example", "domain: «gmail.com", "is a domain of free mailboxes"),
    (T, "domain: longstanding-customer.example", "domain: «mailinator.com", "is a domain of disposable mailboxes"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), ERRORS)
def test_value_that_no_fact_has_is_refused_at_its_position(
    harness: ConfigHarness, old: str, new: str, message: str
) -> None:
    place = harness.change(A, old, new)
    here = [line for line in harness.complaints() if line.startswith(f"{place}: ")]
    assert here, harness.complaints()
    assert message in here[0]


OWN = """
custom_fields:
  seats: {type: number, from: [form, crm]}
  plan: {type: text, one_of: [free, team, business]}
  renewal: {type: date}
  trial: {type: flag}
scoring:"""
OWN_ERRORS = [
    ("{«custom.seat: 5}", "`custom.seat` is not declared in `custom_fields`; did you mean `custom.seats`?"),
    ("{«custom.color: red}", "`custom.color` is not declared in `custom_fields`; declare it there, with its type"),
    ("{custom.seats: {gte: 5, «has_word: many}}", "`has_word` does not work on `custom.seats`, which is a number"),
    ("{custom.seats: «many}", "`custom.seats` takes a number, and `many` is not; write digits"),
    ("{custom.plan: {in: [team, «busines]}}", "`busines` is not a value of `custom.plan`; did you mean `business`?"),
    ("{custom.renewal: {between: [2026-12-01, «tomorrow]}}", "takes a date, and `tomorrow` is not; write a day such as"),
    ("{custom.renewal: {between: «[2026-12-02, 2026-12-01]}}", "ends below its start; write `between: [2026-12-01, 2026-12-02]`"),
    ("{custom.trial: «yes}", "takes true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "message"), OWN_ERRORS, ids=[when for when, _ in OWN_ERRORS])
def test_test_of_custom_field_fits_its_declaration(harness: ConfigHarness, when: str, message: str) -> None:
    harness.change(A, "\nscoring:", OWN)
    place = harness.change(A, FRENCH, when)
    (complaint,) = harness.complaints()
    assert complaint.startswith(f"{place}: ")
    assert message in complaint


def test_custom_fields_with_their_types_are_accepted_in_conditions(harness: ConfigHarness) -> None:
    harness.change(A, "\nscoring:", OWN)
    tests = "custom.seats: {gte: 5}, custom.plan: TEAM, custom.renewal: {within: next 30d, lt: 2027-01-01}, custom.trial: false"
    harness.change(A, FRENCH, f"{{{tests}}}")
    assert harness.load().warnings == ()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("se ats: {type: number}", "write the name alone, such as `seats`"),
        ("seats: {type: «integer}", "`integer`"),
        ("seats: {type: number, from: [«mail]}", "`mail`"),
        ("seats: «{type: number, one_of: [a]}", "`one_of` is for texts, and this is a number"),
    ],
)
def test_wrong_declaration_of_custom_field_is_refused(harness: ConfigHarness, field: str, message: str) -> None:
    place = harness.change(A, "\nscoring:", f"\ncustom_fields:\n  {'' if '«' in field else '«'}{field}\nscoring:")
    (complaint,) = harness.complaints()
    assert complaint.startswith(f"{place}: ")
    assert message in complaint


@pytest.mark.parametrize(("old", "new", "message"), TEAM_ERRORS)
def test_value_of_team_that_no_fact_equals_is_refused(harness: ConfigHarness, old: str, new: str, message: str) -> None:
    place = harness.change(T, old, new)
    assert next(line for line in harness.complaints() if line.startswith(f"{place}: ")).endswith(message)


@pytest.mark.parametrize(("name", "old", "new", "message"), WARNINGS)
def test_unlikely_condition_is_a_warning_at_its_position(
    harness: ConfigHarness, name: str, old: str, new: str, message: str
) -> None:
    place = harness.change(name, old, new)
    warnings = harness.load().warnings
    here = [line for line in warnings if line.startswith(f"{place}: ")]
    assert here, warnings
    assert message in here[0]


@pytest.mark.parametrize("why", ["active: false", "capacity: {open: 0}"])
def test_pool_without_active_member_is_a_warning_at_its_position(harness: ConfigHarness, why: str) -> None:
    harness.change(T, "capacity: {open: 20}", why)
    place = harness.change(T, "\npools:\n", "\npools:\n  - id: «idle\n    members: [{rep: lea}]\n")
    (warning,) = harness.load().warnings
    assert warning.startswith(f"{place}: no member of the pool `idle` takes leads")


def test_example_files_have_no_warnings() -> None:
    assert load(EXAMPLES).warnings == ()


@pytest.mark.parametrize(
    ("when", "fact"),
    [
        ({"country": "UK"}, {"country": "GB"}),
        ({"country": {"in": ["Deutschland", "usa"]}}, {"country": "US"}),
        ({"company.country": {"not_in": ["United Kingdom"]}}, {"company.country": "FR"}),
        ({"language": "de-AT"}, {"language": "de"}),
        ({"language": "German"}, {"language": "de"}),
        ({"email": "Ana@Bücher.example"}, {"email": "ana@xn--bcher-kva.example"}),
        ({"email.domain": "@ACME.com"}, {"email.domain": "acme.com"}),
        ({"company.domain": "https://www.acme.co.uk/about"}, {"company.domain": "acme.co.uk"}),
        ({"phone": "+49 (30) 123456"}, {"phone": "+4930123456"}),
        ({"form": "demo\u200b-request"}, {"form": "demo-request"}),
        ({"custom.plan": " Pro "}, {"custom.plan": "pro"}),
    ],
)
def test_condition_value_equals_the_normalised_fact(when: dict[str, object], fact: dict[str, str]) -> None:
    node = parse(when)
    assert matches(node)(fact)
    assert trace(node, fact).held


def _patterns(schema: object) -> set[str]:
    patterns: set[str] = set()
    for key, value in schema.items() if isinstance(schema, dict) else ():
        patterns |= {value} if key == "pattern" and isinstance(value, str) else _patterns(value)
    for value in schema if isinstance(schema, list) else ():
        patterns |= _patterns(value)
    return patterns


@pytest.mark.parametrize("shape", [Agreement, Team, Sources])
def test_every_pattern_of_the_models_has_a_remedy_without_pattern(shape: type[BaseModel]) -> None:
    durations = r"^([0-9]+[wdhms])+$"  # only for editors; durations have their own message
    assert _patterns(shape.model_json_schema()) - {durations} <= set(error_messages._PATTERNS)
    assert not any(re.search(r"[\^$\\]|\[[a-z]-", remedy) for remedy in error_messages._PATTERNS.values())


def _calls(harness: ConfigHarness, rules: int) -> int:
    """Return the number of calls in the config package while an agreement with this many more rules loads."""
    written = "\n".join(f"      - {{points: 1, because: r{n}, when: {{form: f{n}}}}}" for n in range(rules))
    harness.write(A, (EXAMPLES / A).read_text().replace("  engagement:\n", f"{written}\n  engagement:\n"))
    count = 0

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and "firsthour/runtime/config" in frame.f_code.co_filename

    sys.setprofile(counted)
    try:
        harness.load()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
def test_cost_of_checks_is_linear_in_the_agreement(harness: ConfigHarness) -> None:
    assert _calls(harness, 400) < 2.5 * _calls(harness, 200)
