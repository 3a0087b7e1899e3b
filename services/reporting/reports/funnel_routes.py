"""The routes of the funnel: the report as JSON and CSV, and the leads behind a figure."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Response
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.visibility import visible_leads
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import statements
from firsthour.runtime.storage.installation import configurations
from services.reporting import rebuilding
from services.reporting.funnel_model import FUNNEL, FUNNEL_VERSION
from services.reporting.reports.funnel_counting import FunnelCounts, FunnelQuery, count
from services.reporting.reports.funnel_leads import leads_view
from services.reporting.reports.funnel_query import (
    FunnelParameters,
    FunnelReportParameters,
    LeadsQuery,
    ReportQuery,
    query_of,
)
from services.reporting.reports.funnel_view import csv_text, report_view
from services.reporting.response_routes import ReportQueue

VERSIONS_MAX = 100
_VERSIONS = statements.Sql(
    lambda _: (
        sa.select(configurations.c.version, configurations.c.taken_up_at)
        .where(
            configurations.c.taken_up_at >= sa.bindparam("start", type_=sa.BigInteger),
            configurations.c.taken_up_at < sa.bindparam("end", type_=sa.BigInteger),
        )
        .order_by(configurations.c.taken_up_at.desc())
        .limit(sa.bindparam("limit", type_=sa.Integer))
    )
)
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}}, "description": "The report as JSON, or as CSV."}
}


def add_funnel_routes(api: APIRouter, resources: Resources, queue: ReportQueue) -> None:
    """Add the routes of the funnel. `queue`: of all reports."""

    async def report(parameters: FunnelReportParameters) -> dict[str, Any]:
        now, config = resources.clock.business(), resources.config.current
        query = query_of(parameters, config, now, parameters.by or "")

        def read(connection: Connection) -> tuple[FunnelCounts, list[Any], bool]:
            versions = _versions(connection, query)
            return count(connection, query), versions, rebuilding.is_complete(connection, FUNNEL, FUNNEL_VERSION)

        async with queue.turn():
            counts, versions, complete = await resources.reads(read)
        view = report_view(query, counts, micros(now), config.agreement.lifecycle.statuses)
        return {**view, "versions": versions, "complete": complete, "next": None}

    @api.get("/v1/reports/funnel", tags=["reports"], responses=_CSV)
    async def funnel(principal: Annotated[Principal, Depends(needs(READ))], parameters: ReportQuery) -> Any:
        """The funnel from the first event to revenue: for each pair of neighbouring steps the passes that reached the first
        one, and of them those that went on, skipped the next step, ended or are still there, with the time between both.

        The list behind a figure of a step is its `leads` with `&figure=converted`, `skipped`, `ended` or `there`; without it,
        `reached`.
        """
        answer = await report(parameters)
        return _csv(answer) if parameters.format == "csv" else answer

    @api.get("/v1/reports/funnel.csv", tags=["reports"], response_class=Response, responses=_CSV)
    async def funnel_csv(principal: Annotated[Principal, Depends(needs(READ))], parameters: ReportQuery) -> Response:
        """The figures of the funnel as CSV: one row for each group and step."""
        return _csv(await report(parameters))

    @api.get("/v1/reports/funnel/leads", tags=["reports"])
    async def funnel_leads(
        principal: Annotated[Principal, Depends(needs(READ))], parameters: LeadsQuery
    ) -> dict[str, Any]:
        """The leads behind a figure of the funnel, by the begin of their passes. An answer may have fewer items than `limit`
        and a `next`: rare figures are searched part by part.
        """
        query, visible = _query(parameters), visible_leads(resources.config.current, principal)
        async with queue.turn():
            return await resources.reads(lambda connection: leads_view(connection, query, parameters, visible))

    def _query(parameters: FunnelParameters) -> FunnelQuery:
        return query_of(parameters, resources.config.current, resources.clock.business())


def _csv(answer: dict[str, Any]) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="funnel.csv"'}
    return Response(csv_text(answer), media_type="text/csv; charset=utf-8", headers=headers)


def _versions(connection: Connection, query: FunnelQuery) -> list[dict[str, Any]]:
    """Return the versions of the configuration that came into force in the period, oldest first."""
    rows = _VERSIONS.all(connection, start=query.start, end=query.end, limit=VERSIONS_MAX)
    return [{"version": row.version, "at": moment(row.taken_up_at)} for row in reversed(rows)]
