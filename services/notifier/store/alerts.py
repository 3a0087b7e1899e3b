"""The statements about alerts in services for on-call duty."""

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.unit import Unit
from services.notifier.domain.alert import Alert
from services.notifier.domain.dispatch import KEPT

alerts = sa.Table(
    "notifier_alerts",
    statements.metadata,
    sa.Column("channel", statements.Text, primary_key=True),
    sa.Column("lead_id", statements.Text, primary_key=True),
    sa.Column("state", statements.Text, nullable=False),  # the last event: triggered, acknowledge, resolve
    sa.Column("at", statements.Integer, nullable=False),  # real time
    sa.Index("notifier_alerts_by_lead", "lead_id"),
    sa.Index("notifier_alerts_by_time", "at"),
)

_FIND = statements.Sql(
    lambda f: sa.select(alerts).where(f.is_any_of(alerts.c.lead_id, "leads"), alerts.c.state != "resolve")
)
_SAVE = statements.Sql(lambda f: f.upsert(alerts, ["channel", "lead_id"]))
_EXPIRED = statements.Sql(
    lambda _: (
        sa.select(alerts.c.channel, alerts.c.lead_id)
        .where(alerts.c.at < sa.bindparam("before"))
        .order_by(alerts.c.at)
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_FORGET = statements.Sql(
    lambda _: sa.delete(alerts).where(
        alerts.c.channel == sa.bindparam("of_channel"), alerts.c.lead_id == sa.bindparam("of_lead")
    )
)


def open_alerts(unit: Unit, leads: Collection[str]) -> list[Alert]:
    """Return the open alerts of these leads. The caller holds the locks of their clocks."""
    rows = _FIND.all(unit.connection, leads=sorted(leads)) if leads else []
    return [Alert(row.channel, row.lead_id, row.state, moment(row.at)) for row in rows]


def save_alerts(unit: Unit, changed: Iterable[Alert]) -> None:
    """Store these alerts at the end of the unit."""
    rows = [{**alert._asdict(), "at": micros(alert.at)} for alert in sorted(changed, key=lambda one: one[:2])]
    unit.store(_SAVE.work(unit.connection, rows))


def forget_alerts(unit: Unit, limit: int) -> int:
    """Remove alerts that have not changed for `KEPT`."""
    old = _EXPIRED.all(unit.connection, before=micros(unit.clock.real() - KEPT), limit=limit)
    _FORGET.many(unit.connection, [{"of_channel": row.channel, "of_lead": row.lead_id} for row in old])
    return len(old)
