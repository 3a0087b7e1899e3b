"""Tells a team: stores a notice in the unit of its occasion. It is sent, and tried again, as other dispatches are."""

from collections.abc import Sequence

from firsthour.runtime.storage.unit import Unit
from services.notifier.context import DISPATCHER, Trouble
from services.notifier.domain.notice import OPERATOR, contact_of, dispatch_of, text_of
from services.notifier.store.dispatches import add_dispatches


def tell(unit: Unit, team: str, *, key: str, subject: str, lines: Sequence[str] = (), lead_id: str = "") -> bool:
    """Tell a team: `marketing`, `sales` or `operator`. Return False if the agreement names no recipient for it.

    Args:
        key: Names the occasion. A notice with the key of an earlier one is left out.
        subject: One line.
        lines: What to know and what to do. Text from outside may be in them: it is cleaned here.
        lead_id: The lead that it is about; empty: none.
    """
    contact = contact_of(unit.config.agreement.tell, team)
    if contact is None:
        return False
    add_dispatches(unit, [dispatch_of(contact, team, key, text_of(subject, lines), lead_id, unit.clock.real())])
    unit.wake(DISPATCHER)
    return True


def tell_troubles(unit: Unit, troubles: Sequence[Trouble]) -> None:
    """Tell the operator of troubles that this process has seen."""
    for trouble in troubles:
        tell(unit, OPERATOR, key=trouble.key, subject=trouble.subject, lines=trouble.lines)
