"""The leads behind a figure of the funnel, by the begin of their passes."""

import re
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import moment
from firsthour.kernel.visibility import VisibleLeads
from firsthour.runtime.http import page_cursors
from firsthour.runtime.storage.visible_leads import visible_ids
from services.reporting.domain.funnel import FunnelPass
from services.reporting.domain.funnel_steps import FunnelStep
from services.reporting.domain.funnel_tally import outcome
from services.reporting.funnel_passes import CYCLES, PassPosition, listed_passes
from services.reporting.reports.funnel_counting import FunnelQuery
from services.reporting.reports.funnel_query import FunnelLeadsParameters, refusal

READ_AT_ONCE: Final = 2_000
READ_MAX: Final = 40_000
"""The most passes that are read for one answer. It may then have fewer items than asked for, and a `next`."""
_CURSOR: Final = re.compile(rf"{page_cursors.MICROSECONDS}\.{page_cursors.COUNT}\.{page_cursors.ID}", re.ASCII)
_BEGIN: Final[PassPosition] = (-(2**62), "", 0)


def leads_view(
    connection: Connection, query: FunnelQuery, parameters: FunnelLeadsParameters, visible: VisibleLeads | None = None
) -> dict[str, Any]:
    """Return one page of the list. `visible`: only these leads; None: all."""
    belongs = _chooser(query, parameters)
    position, items, count = _position(parameters.cursor), list[FunnelPass](), 0
    while count < READ_MAX:
        rows = listed_passes(
            connection,
            query.rows_of,
            CYCLES[query.passes],
            query.filters,
            position,
            READ_AT_ONCE,
            step=parameters.step,
            standing=parameters.standing,
            ended=parameters.ended,
        )
        count += len(rows)
        seen = None if visible is None else visible_ids(connection, visible, {one.lead_id for one in rows})
        for one in rows:
            if (seen is None or one.lead_id in seen) and belongs(one):
                items.append(one)
            position = one.start_at, one.lead_id, one.cycle
            if len(items) > parameters.limit:
                return _answer(items[: parameters.limit], items[parameters.limit - 1])
        if len(rows) < READ_AT_ONCE:
            return _answer(items, None)
    return {**_answer(items, None), "next": _cursor(position)}


def _answer(items: list[FunnelPass], last: FunnelPass | None) -> dict[str, Any]:
    after = None if last is None else _cursor((last.start_at, last.lead_id, last.cycle))
    return {"items": [_item(one) for one in items], "next": after}


def _item(one: FunnelPass) -> dict[str, Any]:
    return {
        "lead": one.lead_id,
        "cycle": one.cycle,
        "entered_at": moment(one.start_at),
        "standing": one.status,
        "since": moment(one.status_at) if one.status is not None else None,
        "ended": one.ended,
        "owner": one.rep,
        "steps": {step: moment(at) for step, at in sorted(one.steps.items(), key=lambda item: item[1])},
    }


def _position(cursor: str | None) -> PassPosition:
    match = page_cursors.read(cursor, _CURSOR)
    return _BEGIN if match is None else (int(match[0]), match[2], int(match[1]))


def _cursor(position: PassPosition) -> str:
    return f"{position[0]}.{position[2]}.{position[1]}"


def _chooser(query: FunnelQuery, parameters: FunnelLeadsParameters) -> Callable[[FunnelPass], bool]:
    """Return the test whether a pass belongs to the figure. Raises `Problem` 422."""
    number = None if parameters.step is None else _number(query.steps, parameters.step)
    keys = [step.key for step in query.steps]

    def belongs(one: FunnelPass) -> bool:
        times = [one.steps.get(key) for key in keys]
        mask = sum(1 << n for n, at in enumerate(times) if at is not None)
        if query.basis == "activity":
            within = [at is not None and query.start <= at < query.end for at in times]
            if not (any(within) if number is None else within[number]):
                return False
        if number is None:
            return True
        if not mask >> number & 1:
            return False
        return parameters.figure in ("reached", outcome(mask, one.ended or "", number))

    return belongs


def _number(steps: tuple[FunnelStep, ...], key: str) -> int:
    for n, step in enumerate(steps):
        if step.key == key:
            return n
    raise refusal("step", f"is no step of the agreement; use one of: {', '.join(step.key for step in steps)}")
