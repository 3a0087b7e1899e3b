"""Apply clicks of people on pages, and commands about themselves. No network here."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.storage import audit_log
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.unit import Unit
from schemas.events.actions import ActionRequested
from services.notifier.context import NotifierContext
from services.notifier.domain.click import (
    TOUCHES,
    Action,
    Click,
    ClickAnswer,
    StoredClick,
    decide,
    refused,
    reject_reasons,
)
from services.notifier.domain.clock import ResponseClock
from services.notifier.domain.clock_step import Batch
from services.notifier.domain.terms import Terms
from services.notifier.handlers import store_changes
from services.notifier.store.clicks import add_click, claim_click, find_clicks, is_repeated, paged_as
from services.notifier.store.clocks import find_clocks, lock_clocks
from services.notifier.store.people import StoredLeave

_ACTIONS: Final[Mapping[Action, str]] = {
    "accept": "leads.accept",
    "reached": "leads.touch",
    "no_answer": "leads.touch",
    "reject": "leads.reject",
    "snooze": "leads.snooze",
    "hand_over": "leads.assign",
}
"""The names of the same actions over HTTP, for the audit log."""
REPEATED: Final = timedelta(seconds=5)
"""A person who taps the same twice within this time made one attempt."""


def apply_click(unit: Unit, context: NotifierContext, click: Click) -> ClickAnswer:
    """Apply a click at once, and request its action from the router. Return the answer for the person who clicked.

    The effect on the clock does not wait for the router. If the router refuses the action later, the effect is undone.
    A click that is refused here changes nothing.
    """
    clock = lock_clocks(unit, {click.lead_id}).get(click.lead_id)
    if find_clicks(unit, [click.id]):
        return refused("This click was received before.").answer
    if click.action in TOUCHES and is_repeated(unit, click, REPEATED):
        return refused("The same tap was recorded a moment ago.").answer
    pages = paged_as(unit.connection, click.lead_id, click.person)
    terms, reasons = context.terms(unit), reject_reasons(unit.config.agreement.lifecycle, clock)
    if click.action == "hand_over":
        terms = context.handing_over(terms, unit.connection, unit.config, unit.now)
    decision = decide(click, clock, pages, terms, reasons, unit.now)
    if decision.step is None or decision.request is None or clock is None:
        return decision.answer
    request, changes = decision.request, Batch()
    changes.add(decision.step)
    changes.events.append(request)
    add_click(
        unit,
        click.id,
        StoredClick(click.lead_id, click.epoch, click.person, click.action, request.at, request.until),
        click.source,
    )
    audit_log.note(
        unit, AuditRecord(f"rep:{click.person}", "sales", click.source, _ACTIONS[click.action], click.lead_id, 202)
    )
    store_changes(unit, changes, {click.lead_id: clock}, terms, context)
    return decision.answer


def load_asking(
    connection: Connection, context: NotifierContext, config: Config, lead_id: str, now: datetime
) -> tuple[ResponseClock | None, Terms]:
    """Return the clock of a lead, and the terms that decide on the choices of a dialog. Clock None: the lead is unknown."""
    terms = context.terms_of(config, StoredLeave(connection))
    clock = find_clocks(connection, [lead_id]).get(lead_id)
    return clock, context.handing_over(terms, connection, config, now)


def apply_command(unit: Unit, request: ActionRequested, person: str) -> bool:
    """Request a change of the availability of this rep from the router. Return whether the command was not received before.

    Args:
        person: rep id.
    """
    command = StoredClick(request.lead_id, request.epoch, person, request.action, request.at, request.until)
    if not claim_click(unit, request.action_id, command, "slack"):
        return False
    unit.emit(request, key=person, id=request.action_id)
    audit_log.note(unit, AuditRecord(f"rep:{person}", "sales", "slack", "reps.availability", person, 202))
    return True
