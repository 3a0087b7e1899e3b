"""A sample page, with changes for each test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.events.leads import LeadRequest, RecentActivity, ScoreReason
from schemas.events.routes import LeadCard
from services.notifier.domain.message import Message

NINE = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
CARD = LeadCard(
    name="Ann Lee",
    email="ann@acme.example",
    phone="+493012345678",
    title="CTO",
    company="Acme",
    employees=250,
    country="DE",
    grade="A",
    total=78.4,
    request=LeadRequest(NINE, "We need this before Christmas.\nCan you call me today?", "demo-request"),
    activity=(
        RecentActivity(NINE, "form.submitted", "demo-request"),
        RecentActivity(NINE - timedelta(minutes=4), "page.viewed", "/pricing"),
        RecentActivity(NINE - timedelta(minutes=9), "page.viewed", "/pricing"),
        RecentActivity(NINE - timedelta(days=3), "content.downloaded", "Buyer's guide"),
    ),
    reasons=(ScoreReason("Asked for a demo"), ScoreReason("Looked at prices", 2)),
)
PAGE = Message(
    page_id="0192f3c4-0000-7000-8000-000000000001",
    rung=0,
    kind="owner",
    person_name="Bo Chen",
    person_email="bo@sales.example",
    person_slack="U0BO",
    lead_id="lead-1",
    card=CARD,
    urgency="hot",
    submit_at=NINE,
    promise_at=NINE + timedelta(hours=1),
    written_at=NINE + timedelta(minutes=2),
    owner_name="Bo Chen",
    lead_url="https://firsthour.example/leads/lead-1",
    epoch=1,
)
ATTACKS = (
    "<!channel> <!here> <!everyone>",
    "<@U1> <#C1> <!subteam^S1>",
    "<http://evil.example|Your bank>",
    "http://evil.example/?a=b&c=d www.evil.example",
    "&lt;!channel&gt; &#60;!here&#62;",
    "\u202egnp.exe\u202c \u2066hidden\u2069 \u200bzero\u200bwidth\ufeff",
    "Ann\r\nBcc: victim@example.test\r\n\r\n<html>",
    "Ann\nBcc: victim@example.test",
    "Ann\x85\u2028\u2029\x0b\x0cBcc: victim@example.test",
    "=?utf-8?q?Ann=0D=0ABcc:_victim@example.test?=",
    "=?utf-8?b?QW5uDQpCY2M6IHZpY3RpbUBleGFtcGxlLnRlc3Q=?=",
    '"Ann" <victim@example.test>, other@example.test',
    "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "[bold red]Ann[/] [link=http://evil.example]here[/link]",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "*bold* _it_ ~no~ `code` :tada:",
    "\x00\ud800 nothing",
    "x" * 5000,
    "&" * 5000,
    ".\r\n.\r\nMAIL FROM:<x@example.test>",
)
"""Text that tries to be active, or to be shown as something else."""


def page_message(**changes: Any) -> Message:
    """Return the sample page with these fields changed. A field of the card is written `card_name=...`."""
    card = {name.removeprefix("card_"): changes.pop(name) for name in list(changes) if name.startswith("card_")}
    fields = {name: getattr(CARD, name) for name in CARD.__struct_fields__} | card
    return replace(PAGE, **{"card": LeadCard(**fields), **changes})


def hostile_message(text: str) -> Message:
    """Return the sample page with this text in every field that comes from outside or from a file."""
    return page_message(
        card=LeadCard(
            name=text,
            email=text,
            phone=text,
            title=text,
            company=text,
            country=text,
            company_country=text,
            zone=text,
            grade=text,
            request=LeadRequest(NINE, text, text),
            activity=(RecentActivity(NINE, text, text), RecentActivity(NINE, "page.viewed", text)),
            reasons=(ScoreReason(text),),
        ),
        person_name=text,
        owner_name=text,
        urgency=text,
    )
