"""The burst to which the request of a lead belongs, as the gateway marked it."""

from typing import NamedTuple

from services.router.domain.lead import Lead


class LeadBurst(NamedTuple):
    """A burst: its id, and what it is a burst of, such as `mail domain acme.example`."""

    id: str
    label: str


def burst_of(lead: Lead) -> LeadBurst | None:
    """Return the burst for which the lead is to be held back. None: none, or it was assigned since it asked."""
    trigger = lead.state.trigger
    if trigger is None or not trigger.burst or (lead.state.assigned_at or 0) >= (lead.submit_at or 1):
        return None
    id, _, label = trigger.burst.partition(" ")
    return LeadBurst(id, label)
