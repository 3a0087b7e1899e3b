"""Normal forms of addresses, phone numbers, companies, countries and texts."""

import re
import unicodedata
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from publicsuffixlist import PSLFILE, PublicSuffixList

from firsthour.kernel.countries import BY_NAME, CODES, country_code
from firsthour.kernel.normalisation.companies import company_domain, suffixes
from firsthour.kernel.normalisation.emails import checked_email, email_kind, normalise_email
from firsthour.kernel.normalisation.malformed import MalformedError
from firsthour.kernel.normalisation.phones import checked_phone, normalise_phone
from firsthour.kernel.normalisation.texts import TEXT_MAX, normalise_text
from tests.examples import examples


@pytest.mark.parametrize(
    ("sent", "normalised"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada+crm@sub.example-company.test\u200b\n", "ada+crm@sub.example-company.test"),
        ("Jörg@Müller.de", "jörg@xn--mller-kva.de"),
        ("jo\u0308rg@xn--mller-kva.de", "jörg@xn--mller-kva.de"),
        ("o'hara@x.example", "o'hara@x.example"),
        ("INFO@1.com", "info@1.com"),
    ],
)
def test_normalised_email_is_lower_case_with_ascii_domain(sent: str, normalised: str) -> None:
    assert normalise_email(sent) == normalised


@pytest.mark.parametrize(
    "sent",
    [
        *("", "ada", "ada@", "@example.com", "a..b@c.de", "Ann <a@b.co>", '"a b"@c.de', "a@[1.2.3.4]", "a b@c.de"),
        *("a@localhost", "a@test", "a@b.local", "a@b.invalid", "a@b.c1", "a@-b.de", "a@b_c.de", "a@ab--c.de"),
        *(
            "a\u202eb@c.de",
            "x" * 300 + "@c.de",
            "a@" + "b" * 64 + ".de",
            "a@b.de\x00",
            "a@☃\u0301.de",
            "a@b.de, c@d.de",
        ),
    ],
)
def test_malformed_email_is_refused_with_remedy_and_not_quoted(sent: str) -> None:
    with pytest.raises(MalformedError) as refused:
        normalise_email(sent)

    assert "ann@example.com" in refused.value.remedy
    assert len(sent) < 5 or sent not in refused.value.mistake


PLAIN = st.from_regex(
    re.compile(r"[A-Za-z0-9._%+'!-]{1,12}@([A-Za-z0-9-]{1,8}\.){1,3}[A-Za-z0-9-]{1,6}", re.ASCII), fullmatch=True
)
SPECIAL = st.builds(
    "{}@{}.{}".format, st.sampled_from(["a", "A.b"]), st.text("abZ0-", min_size=1, max_size=70),
    st.sampled_from(["test", "local", "invalid", "onion", "arpa", "example", "localhost", "xn--p1ai", "c-m", "co-"]),
)  # fmt: skip
WILD = st.builds("{}@{}".format, st.text(max_size=8), st.text(max_size=12))


@given(PLAIN | SPECIAL | WILD)
def test_email_shortcut_agrees_with_the_library(sent: str) -> None:
    assume(sent.strip() == sent)

    assert outcome(sent, shortcut=True) == outcome(sent, shortcut=False)


def outcome(sent: str, shortcut: bool) -> str:
    try:
        return normalise_email(sent) if shortcut else checked_email(sent.strip(" \t\r\n\xa0\u200b\ufeff"))
    except MalformedError:
        return "malformed"


@given(PLAIN | WILD)
def test_normalised_email_is_returned_unchanged(sent: str) -> None:
    try:
        normalised = normalise_email(sent)
    except MalformedError:
        return

    assert normalise_email(normalised) == normalised
    assert normalise_email(sent.upper()) == normalised or not sent.isascii()


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        ("gmail.com", "free"),
        ("gmx.de", "free"),
        ("tutanota.com", "free"),
        ("mailinator.com", "disposable"),
        ("inbox.mailinator.com", "disposable"),
        ("10minutemail.co.za", "disposable"),  # in both lists
        ("acme.example", "business"),
        ("notgmail.com", "business"),
        ("", "business"),
    ],
)
def test_email_kind_is_derived_from_the_domain(domain: str, kind: str) -> None:
    assert email_kind(domain) == kind


@pytest.mark.parametrize(
    ("sent", "domain"),
    [
        ("https://www.acme.co.uk/about?x=1#y", "acme.co.uk"),
        ("WWW.Acme.Example:8080", "acme.example"),
        ("https://user:pw@shop.acme.myshopify.com", "acme.myshopify.com"),
        ("mailto:ann@mail.acme.test", "acme.test"),
        ("acme.com.", "acme.com"),
        ("//cdn.acme.de", "acme.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("co.uk", None),
        ("acme", None),
        ("10.0.0.1", None),
        ("http://[::1]/", None),
        ("acme corp.com", None),
        ("", None),
    ],
)
def test_company_domain_is_the_registrable_domain(sent: str, domain: str | None) -> None:
    assert company_domain(sent) == domain


def test_every_rule_of_the_public_suffix_list_is_known() -> None:
    complete, ours = PublicSuffixList(), suffixes()
    rules = [line for line in Path(PSLFILE).read_text(encoding="utf-8").splitlines() if line and line[:2] != "//"]
    hosts = [f"a.b.c.{rule.lstrip('!*.')}" for rule in rules]
    hosts += [host.encode("idna").decode() for host in hosts if not host.isascii()]
    assert [ours.privatesuffix(host) for host in hosts] == [complete.privatesuffix(host) for host in hosts]


@given(st.text(max_size=40) | PLAIN)
def test_company_domain_of_any_text_is_none_or_returned_unchanged(sent: str) -> None:
    domain = company_domain(sent)

    assert domain is None or company_domain(domain) == domain


@pytest.mark.parametrize(
    ("sent", "region", "normalised"),
    [
        ("+49 (30) 123-4567", None, "+49301234567"),
        ("030 1234567", "DE", "+49301234567"),
        ("030 1234567", "Germany", "+49301234567"),
        ("0049 30 1234567", None, "+49301234567"),
        ("0049 30 1234567", "AT", "+49301234567"),
        ("+1 202-555-0123 ext. 5", "DE", "+12025550123"),
        ("06 12345678", "IT", "+390612345678"),
    ],
)
def test_normalised_phone_is_e164(sent: str, region: str | None, normalised: str) -> None:
    assert normalise_phone(sent, region) == normalised
    assert normalise_phone(normalised, region) == normalised


@pytest.mark.parametrize(
    ("sent", "region", "why"),
    [
        ("030 1234567", None, "no country code"),
        ("030 1234567", "Atlantis", "no country code"),
        ("123", "DE", "too short"),
        ("5550100", "US", "too short"),
        ("call me", None, "not a phone number"),
        ("", None, "not a phone number"),
        ("1" * 100, None, "at most 64"),
    ],
)
def test_malformed_phone_is_refused_with_its_reason(sent: str, region: str | None, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        normalise_phone(sent, region)


@given(st.text(max_size=80) | st.text("+0123456789 ()-ext", max_size=30), st.none() | st.sampled_from(sorted(CODES)))
def test_phone_of_any_text_is_refused_or_returned_unchanged(sent: str, region: str | None) -> None:
    try:
        normalised = normalise_phone(sent, region)
    except MalformedError:
        return

    assert normalise_phone(normalised) == normalised


CALLING_CODES = st.sampled_from(sorted(map(str, COUNTRY_CODE_TO_REGION_CODE))) | st.integers(1, 999).map(str)
E164 = st.builds("+{}{}".format, CALLING_CODES, st.text("0123456789", min_size=3, max_size=14))


@settings(max_examples=examples(500))
@given(E164, st.none() | st.sampled_from(["DE", "US", "IT", "RU", "AR", "MX", "CI"]))
def test_phone_shortcut_agrees_with_the_library(sent: str, region: str | None) -> None:
    assert phone_or_reason(normalise_phone, sent, region) == phone_or_reason(checked_phone, sent, region)


@pytest.mark.slow
def test_phone_shortcut_agrees_for_every_code_length_and_first_digit() -> None:
    for code, first, length in product(COUNTRY_CODE_TO_REGION_CODE, range(10), range(4, 14)):
        sent = f"+{code}{first}{'2345678901234'[: length - 1]}"

        assert phone_or_reason(normalise_phone, sent, None) == phone_or_reason(checked_phone, sent, None)


def phone_or_reason(function: Callable[[str, str | None], str], sent: str, region: str | None) -> str:
    try:
        return function(sent, region)
    except MalformedError as refused:
        return refused.mistake


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        *(("de", "DE"), ("DEU", "DE"), (" Deutschland ", "DE"), ("United  States", "US"), ("UK", "GB"), ("日本", "JP")),
        *(("ÖSTERREICH", "AT"), ("Tu\u0308rkiye", "TR"), ("XX", None), ("Atlantis", None), ("", None)),
    ],
)
def test_country_code_is_found_by_code_or_name(sent: str, code: str | None) -> None:
    assert country_code(sent) == code


def test_named_countries_have_codes_and_lower_case_names() -> None:
    assert set(BY_NAME.values()) <= CODES
    assert len(CODES) == 249
    assert all(name == unicodedata.normalize("NFC", name).lower() for name in BY_NAME)
    assert not {name.upper() for name in BY_NAME} & CODES


def test_normalised_text_has_only_visible_characters_on_one_line() -> None:
    assert normalise_text("  Head\tof\r\n\r\nOperations\x00 ") == "Head of Operations"
    assert normalise_text("invoice\u202egnp.exe") == "invoicegnp.exe"
    assert normalise_text("Ac\u200bme\ufeff") == "Acme"
    assert normalise_text("Jo\u0308rg") == "Jörg"
    assert normalise_text("family: \U0001f468\u200d\U0001f469") == "family: \U0001f468\u200d\U0001f469"
    assert len(normalise_text("x" * 70_000)) == TEXT_MAX


@given(st.text(max_size=60) | st.text("a\u0301\u202e\x00 \n\ud800", max_size=20))
def test_normalised_text_is_encodable_and_returned_unchanged(sent: str) -> None:
    normalised = normalise_text(sent)

    assert normalise_text(normalised) == normalised
    assert normalised.encode() or not normalised
    assert "\x00" not in normalised
