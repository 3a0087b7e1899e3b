"""The pages that the navigation leads to, for each viewer."""

from dataclasses import dataclass
from typing import Final

from firsthour.runtime.http.principal import READ
from services.console.viewer import Viewer


def _(text: str) -> str:
    """Mark a text for the catalogue. The template translates it."""
    return text


@dataclass(frozen=True)
class NavigationEntry:
    """A link of the navigation. `right`: the viewers who see it. `for_reps`: only reps see it."""

    path: str
    label: str
    right: str = READ
    for_reps: bool = False


ENTRIES: Final = (
    NavigationEntry("/console/mine", _("My leads"), for_reps=True),
    NavigationEntry("/console/now", _("Now")),
    NavigationEntry("/console/leads", _("Leads")),
    NavigationEntry("/console/funnel", _("Funnel")),
    NavigationEntry("/console/response", _("First hour"), "sales"),
    NavigationEntry("/console/team", _("Team"), "sales"),
    NavigationEntry("/console/agreement", _("Agreement")),
    NavigationEntry("/console/operations", _("Operations"), "marketing"),
    NavigationEntry("/console/sessions", _("Sessions")),
)
OPERATIONS: Final = (
    NavigationEntry("/console/operations", _("State"), "marketing"),
    NavigationEntry("/console/operations/dead-letters", _("Dead letters"), "manager"),
    NavigationEntry("/console/operations/pages", _("Pages"), "manager"),
    NavigationEntry("/console/operations/webhooks", _("Webhooks"), "manager"),
    NavigationEntry("/console/operations/quarantine", _("Quarantine"), "marketing"),
    NavigationEntry("/console/operations/doctor", _("Doctor"), "admin"),
    NavigationEntry("/console/operations/keys", _("Keys"), "admin"),
    NavigationEntry("/console/operations/audit", _("Audit log"), "manager"),
)
"""The pages of operations, which their tabs lead to."""


def entries(viewer: Viewer) -> list[NavigationEntry]:
    """Return the entries for a viewer."""
    return [entry for entry in ENTRIES if viewer.may(entry.right) and (viewer.session.rep or not entry.for_reps)]


def operation_tabs(viewer: Viewer) -> list[NavigationEntry]:
    """Return the pages of operations for a viewer."""
    return [entry for entry in OPERATIONS if viewer.may(entry.right)]
