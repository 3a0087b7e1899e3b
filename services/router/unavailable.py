"""Which reps get no lead now. The router publishes it, and the notifier leaves these reps out where a lead is handed over."""

from datetime import datetime

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from services.router.domain.eligibility import unavailability
from services.router.domain.rules import rules_of
from services.router.store.team import presences


def unavailable_reps(connection: Connection, config: Config, now: datetime) -> dict[str, str]:
    """Return why reps get no lead at `now` (business time), by rep: `away`, `at capacity` or `deactivated`."""
    rules, by_rep, at = rules_of(config), presences(connection), micros(now)
    reasons = {rep: unavailability(rules, by_rep, rep, at) for rep in rules.team.rep_by_id}
    return {rep: why.partition(":")[0] for rep, why in reasons.items() if why is not None}
