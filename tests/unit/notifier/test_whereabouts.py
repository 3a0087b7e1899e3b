"""The probable place of a person: its local time, and whether it is office hours there."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthour.kernel.countries import CODES
from firsthour.kernel.time_zones import country_name, known_zone, zones_of
from schemas.events.routes import LeadCard
from services.notifier.domain.card_text import local_time_line
from services.notifier.domain.page_words import text_of
from services.notifier.domain.whereabouts import local_time, place_of

TUESDAY = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def shown(card: LeadCard, now: datetime = TUESDAY, zone: ZoneInfo = BERLIN) -> str:
    """Return the line about the local time; empty: the place is unknown."""
    place = place_of(card)
    return text_of(local_time_line(local_time(place, now), now, zone, zone)) if place else ""


@pytest.mark.parametrize(
    ("card", "line"),
    [
        ({"country": "DE"}, "Tue 10:00 in Germany when sent; office hours until 17:00 CET"),
        ({"country": "Deutschland"}, "Tue 10:00 in Germany when sent; office hours until 17:00 CET"),
        ({"country": "JP"}, "Tue 18:00 in Japan when sent, 8 h ahead; outside office hours until Wed 2 Dec 01:00 CET"),
        ({"country": "IN"}, "Tue 14:30 in India when sent, 4 h 30 min ahead; office hours until 12:30 CET"),
        ({"phone": "+442079460000"}, "Tue 09:00 in Britain (UK) when sent, 1 h behind; office hours until 18:00 CET"),
        (
            {"company_country": "PT", "phone": "+33123456789"},
            "Tue 10:00 in France when sent; office hours until 17:00 CET",
        ),
        ({"company_country": "FI"}, "Tue 11:00 in Finland when sent, 1 h ahead; office hours until 16:00 CET"),
        (
            {"country": "US"},
            "Mon 23:00 to Tue 04:00 when sent, United States has several times; outside office hours",
        ),
        (
            {"country": "US", "zone": "America/Chicago"},
            "Tue 03:00 in United States when sent, 7 h behind; outside office hours until 16:00 CET",
        ),
        (
            {"country": "US", "zone": "Asia/Tokyo"},
            "Tue 18:00 in Tokyo when sent, 8 h ahead; outside office hours until Wed 2 Dec 01:00 CET",
        ),
        ({"zone": "Asia/Ho_Chi_Minh"}, "Tue 16:00 in Ho Chi Minh when sent, 6 h ahead; office hours until 11:00 CET"),
        ({"country": "AU"}, "Tue 17:00 to Tue 20:00 when sent, Australia has several times; outside office hours"),
        ({"country": "Atlantis", "zone": "../../etc/passwd"}, ""),
        ({"zone": "europe/berlin"}, ""),
        ({"phone": "+80012345678"}, ""),  # a number of no country
        ({"phone": "030 1234"}, ""),
        ({}, ""),
    ],
)
def test_local_time_follows_from_zone_country_phone_or_company(card: dict[str, Any], line: str) -> None:
    assert shown(LeadCard(**card)) == line


@pytest.mark.parametrize(
    ("country", "at", "line"),
    [
        # Saturday, a public holiday, a weekend on Friday and Saturday, and the night in which the clocks go back.
        ("DE", "2026-12-05T09:00", "Sat 10:00 in Germany when sent; outside office hours until Mon 7 Dec 09:00 CET"),
        ("DE", "2026-12-25T09:00", "Fri 10:00 in Germany when sent; outside office hours until Mon 28 Dec 09:00 CET"),
        ("SA", "2026-12-04T09:00", "Fri 12:00 in Saudi Arabia when sent, 2 h ahead; outside office hours until Sun 6 Dec 07:00 CET"),
        ("DE", "2026-10-25T00:30", "Sun 02:30 in Germany when sent; outside office hours until Mon 26 Oct 09:00 CET"),
        ("US", "2026-12-01T18:30", "Tue 08:30 to Tue 13:30 when sent, United States has several times; office hours in parts of it"),
        ("BR", "2026-12-01T15:30", "Tue 10:30 to Tue 13:30 when sent, Brazil has several times; office hours in all of it"),
    ],
)  # fmt: skip
def test_office_hours_know_weekends_holidays_and_several_zones(country: str, at: str, line: str) -> None:
    assert shown(LeadCard(country=country), datetime.fromisoformat(at).replace(tzinfo=UTC)) == line


@pytest.mark.parametrize("country", sorted(CODES))
def test_every_country_has_a_name_and_a_local_time(country: str) -> None:
    assert country_name(country)
    place = place_of(LeadCard(country=country))
    assert (place is None) == (country in {"BV", "HM"}), "these two islands have no inhabitants and no zone"
    if place is not None:
        local = local_time(place, TUESDAY)
        assert local.earliest == local.latest == TUESDAY
        assert local.sure or local.changes_at is None


@given(st.text(st.characters(codec=None), max_size=80))
def test_any_text_is_a_known_zone_or_none(text: str) -> None:
    assert known_zone(text) in (text, None)
    assert zones_of(text) == () or text in CODES
    place = place_of(LeadCard(country=text, phone=text, company_country=text, zone=text))
    assert place is None or place.zones


@pytest.mark.parametrize("zone", ["Factory", "localtime", "posixrules", "Europe", "", "UTC\0", "/etc/localtime"])
def test_name_that_is_no_place_is_no_zone(zone: str) -> None:
    assert known_zone(zone) is None
