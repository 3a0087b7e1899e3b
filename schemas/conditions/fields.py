"""The fields that a condition can test, and the operators of each type."""

from collections.abc import Mapping
from typing import Final

TEXT, NUMBER, BOOL, DATE, ANY = "text", "number", "bool", "date", "any"

PERSON_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("name", "first_name", "last_name", "title", "phone", "language", "country", "email"), TEXT),
    "consent": BOOL,
    **dict.fromkeys(("company.name", "company.domain", "company.industry", "company.country"), TEXT),
    **dict.fromkeys(("company.employees", "company.revenue"), NUMBER),
    **dict.fromkeys(("utm.source", "utm.medium", "utm.campaign", "utm.term", "utm.content"), TEXT),
}
"""Facts about a person, with their types. There are also `custom.<name>`."""

DERIVED_FIELDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("email.domain", "email.kind", "crm_id", "anonymous_id"), TEXT),
    **dict.fromkeys(("fit", "engagement", "total"), NUMBER),
    **dict.fromkeys(("grade", "status", "account.owner", "previous_owner"), TEXT),
    **dict.fromkeys(("segment", "persona", "recycled.reason", "urgency"), TEXT),
    **dict.fromkeys(("touches", "attempts.unanswered", "attempts.total", "opportunity.amount"), NUMBER),
    **dict.fromkeys(("opportunity.stage", "opportunity.currency"), TEXT),
}
"""Values that FirstHour computes, with their types."""

EVENT_FIELDS: Final[Mapping[str, str]] = dict.fromkeys(
    (
        *("form", "path", "url", "referrer", "content", "link", "subject", "message", "webinar", "minutes", "plan"),
        *(
            "meeting",
            "channel",
            "answered",
            "duration",
            "rep_email",
            "campaign",
            "source",
            "stage",
            "amount",
            "currency",
        ),
        *("reason", "note", "cost", "starts_at", "opportunity_id"),
    ),
    ANY,
)
"""Usual fields of events. A rule with `on:` may name others too."""

FIELDS: Final[Mapping[str, str]] = {**EVENT_FIELDS, **PERSON_FIELDS, **DERIVED_FIELDS}

NOW: Final = "now"
"""The name under which facts carry the time at which a condition is judged (microseconds). Only `within` reads it."""

LIST_OPS = frozenset({"in", "not_in"})
WORD_OPS = frozenset({"has_word", "starts_with", "ends_with", "contains"})
ORDER_OPS = frozenset({"gt", "gte", "lt", "lte", "between"})
DOMAIN, WITHIN = "matches_domain", "within"
OPS: Final = (
    *("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "between", *sorted(WORD_OPS)),
    *(DOMAIN, WITHIN, "exists"),
)
OPS_OF: Final[Mapping[str, frozenset[str]]] = {
    TEXT: frozenset(OPS) - ORDER_OPS - {WITHIN},
    NUMBER: frozenset(OPS) - WORD_OPS - {DOMAIN, WITHIN},
    BOOL: frozenset({"eq", "ne", "exists"}),
    DATE: ORDER_OPS | {WITHIN, "exists"},
    ANY: frozenset(OPS),
}
NOUNS: Final = {TEXT: "text", NUMBER: "a number", BOOL: "true or false", DATE: "a date"}
