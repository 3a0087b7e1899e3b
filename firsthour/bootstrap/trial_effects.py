"""The effect that tried events would have on scoring, routing and pages: the decisions of the services, one after another.

Services never import each other, so they are put together here, and handed to the gateway as a function.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.storage.records import Record, Row
from services.gateway.source_api import TrialEffects
from services.notifier.context import NotifierContext
from services.notifier.trial import TriedPages, following_pages
from services.router.trial import RouteTrial, TriedRoute
from services.scoring.trial import TriedScore, try_events


def trial_effects(channels: Sequence[str], skew_us: int, *, ways_out: bool) -> TrialEffects:
    """Return the function for the gateway.

    Args:
        channels: The names of the channels that are set up.
        skew_us: How far the clock of a sender of touches may be behind, in microseconds.
        ways_out: Pages also leave over the channels of the agreement.
    """
    return partial(_effects, context=NotifierContext(tuple(channels), ways_out=ways_out), skew_us=skew_us)


def _effects(
    connection: Connection,
    config: Config,
    now: datetime,
    rows: Sequence[Row],
    *,
    context: NotifierContext,
    skew_us: int,
) -> list[dict[str, Any] | None]:
    records = [Record(0, row.key, row.event_id, row.body) for row in rows]
    routes = RouteTrial(connection, config, now, skew_us)
    effects: list[dict[str, Any] | None] = []
    for record, score in zip(records, try_events(connection, config, now, records), strict=True):
        if score is None:
            effects.append(None)
            continue
        route = routes.hear(score.lead, score.records, record.event_id)
        pages = following_pages(connection, config, context, now, route.records)
        effects.append(_view(score, route, pages))
    return effects


def _view(score: TriedScore, route: TriedRoute, pages: TriedPages) -> dict[str, Any]:
    scored, owner = score.scored, route.owner
    view: dict[str, Any] = {
        "lead": score.lead if score.known else None,
        "shared": score.shared,
        "score": {**msgspec.structs.asdict(scored.score), "suppressed": scored.suppressed},
        "score_before": None if score.before is None else msgspec.structs.asdict(score.before),
        "parts": [msgspec.structs.asdict(part) for part in score.parts],
        "qualify": None if route.line is None else {"line": route.line.name, "urgency": route.line.urgency},
        "why_not": route.why,
        "status": {"from": route.was, "to": route.status},
        "owner": None,
        "promise_at": pages.promise_at,
        "pages": [page._asdict() for page in pages.pages],
    }
    if owner is not None:
        view["owner"] = {**owner._asdict(), "considered": [msgspec.structs.asdict(one) for one in owner.considered]}
    return view
