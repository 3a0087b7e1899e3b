"""The links that a page offers, by its kind."""

from collections.abc import Mapping
from typing import Final

from services.notifier.domain.link import LinkAction

_OF_KIND: Final[Mapping[str, tuple[LinkAction, ...]]] = dict.fromkeys(("owner", "reassigned", "manager"), ("open",))


def offered_by(kind: str) -> tuple[LinkAction, ...]:
    """Return the actions of the links in a page of this kind; `open` first. A kind without a lead has none."""
    return _OF_KIND.get(kind, ())
