"""Names of facts that only FirstHour may state. An outside field of such a name is dropped, and its event is kept."""

from typing import Final

from schemas.conditions.fields import DERIVED_FIELDS, NOW

IDENTIFIERS: Final = frozenset({"email", "phone", "crm_id", "anonymous_id"})
"""Names of a person's identifiers. They come from senders, and are not facts."""

PRODUCT_FACTS: Final = (frozenset(DERIVED_FIELDS) | {"owner", "score", "epoch", "lead_id", NOW}) - IDENTIFIERS
"""Scores, statuses, owners and other values that are computed by the agreement."""

PRODUCT_PREFIXES: Final = (
    "account.",
    "attempts.",
    "email.",
    "opportunity.",
    "recycled.",
    "score.",
    "status.",
    "owner.",
)
"""Prefixes of dotted names that belong to FirstHour, present and future ones."""


def is_product_fact(name: str) -> bool:
    """Return whether only FirstHour may state the fact `name`."""
    return name in PRODUCT_FACTS or ("." in name and name.startswith(PRODUCT_PREFIXES))
