"""Names of facts that only the product may state. A field of this name from outside is dropped and the event is taken."""

from typing import Final

from schemas.conditions import DERIVED_FIELDS

IDENTIFIERS: Final = frozenset({"email", "phone", "crm_id", "anonymous_id"})
"""Names of a person's identifiers. Senders state these; they are never facts of their own."""

PRODUCT_FACTS: Final = (frozenset(DERIVED_FIELDS) | {"owner", "score", "epoch", "lead_id"}) - IDENTIFIERS
"""Scores, statuses, owners and other values that are worked out from the agreement."""

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
"""Beginnings of dotted names that belong to the product, present and future ones."""


def is_product_fact(name: str) -> bool:
    """Tell whether only the product may state the fact `name`."""
    return name in PRODUCT_FACTS or ("." in name and name.startswith(PRODUCT_PREFIXES))
