"""The five topics, with the services that emit and read them, and the keys of their records. `INBOUND` is for other programs.

The key of a record determines its partition, so records that must stay in order have the same key: for outside events
their strongest identifier, for all others the lead.
"""

from typing import Final

EVENTS: Final = "events"
LEADS: Final = "leads"
ROUTES: Final = "routes"
PAGES: Final = "pages"
ACTIONS: Final = "actions"

ALL: Final = (EVENTS, LEADS, ROUTES, PAGES, ACTIONS)

INBOUND: Final = "inbound"
"""The topic to which other programs write CloudEvents, in any order of their own. Only the gateway reads it, over Kafka."""
CREATED: Final = (*ALL, INBOUND)

KEYED_BY: Final = {
    EVENTS: "email, else phone, else crm_id, else anonymous_id",
    LEADS: "lead id",
    ROUTES: "lead id; rep id for the availability of a rep",
    PAGES: "lead id",
    ACTIONS: "lead id",
}

EMITTED_BY: Final = {
    EVENTS: ("gateway",),
    LEADS: ("scoring",),
    ROUTES: ("router",),
    PAGES: ("notifier",),
    ACTIONS: ("notifier",),
}

READ_BY: Final = {
    EVENTS: ("scoring", "reporting"),
    LEADS: ("router", "reporting"),
    ROUTES: ("scoring", "notifier", "reporting"),
    PAGES: ("reporting",),
    ACTIONS: ("router", "reporting"),
}

IDS_OF_UNITS: Final = frozenset({LEADS, ROUTES, PAGES})
"""The topics whose records have ids that the emitting unit makes, so that a table holds each record once."""
