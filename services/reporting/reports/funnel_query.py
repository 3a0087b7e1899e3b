"""Reads the parameters of the funnel report, and writes them into links."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from firsthour.kernel.config import Config
from firsthour.kernel.time_units import micros
from firsthour.runtime.http.problem import FieldFault, Problem
from schemas.http import Moment
from schemas.values import positive_duration
from services.reporting.domain.funnel_steps import steps_of
from services.reporting.funnel_passes import DIMENSIONS
from services.reporting.reports.funnel_counting import HISTORY_DAYS, Basis, FunnelQuery, Passes, Span

FROM: Final = "90d"
LEADS_PATH: Final = "/v1/reports/funnel/leads"
FunnelKey = Literal["source", "campaign", "form", "persona", "grade", "rep", "team", "cohort"]
_Value = Annotated[str | None, Field(max_length=200)]
_moment: Final = TypeAdapter(Moment)
_DAY: Final = timedelta(days=1)


class FunnelParameters(BaseModel):
    """The parameters of the report and of the lists behind its figures. An empty value of a filter: it is unknown."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: Annotated[
        str,
        Field(alias="from", max_length=64, description="A span such as `90d`, a day or a time; at most 400 days ago."),
    ] = FROM
    to: Annotated[
        str | None, Field(max_length=64, description="A day (up to its begin) or a time, not included; absent: now.")
    ] = None
    basis: Annotated[
        Basis,
        Field(
            description="`cohort`: passes that began in the period, with all that followed. `activity`: steps reached in"
            " the period, whenever the pass began."
        ),
    ] = "cohort"
    passes: Annotated[
        Passes, Field(description="`first`: from the first event on. `later`: after a return to Marketing.")
    ] = "first"
    per: Annotated[Span, Field(description="The span of the trend, and of `by=cohort`: UTC days, weeks or months.")] = (
        "week"
    )
    source: _Value = None
    campaign: _Value = None
    form: _Value = None
    persona: _Value = None
    grade: _Value = None
    rep: _Value = None
    team: Annotated[str | None, Field(max_length=200, description="The pool of the last assignment.")] = None

    @property
    def filters(self) -> dict[str, str]:
        """The dimensions that must have a value."""
        return {name: value for name in DIMENSIONS if (value := getattr(self, name)) is not None}


class FunnelReportParameters(FunnelParameters):
    """The parameters of the report."""

    by: Annotated[FunnelKey | None, Field(description="One group for each of these; absent: the total only.")] = None
    format: Annotated[Literal["json", "csv"], Field(description="The form of the answer.")] = "json"


class FunnelLeadsParameters(FunnelParameters):
    """The parameters of the list behind a figure."""

    step: Annotated[str | None, Field(max_length=250, description="The key of a step: the passes that reached it.")] = (
        None
    )
    figure: Annotated[
        Literal["reached", "converted", "skipped", "ended", "there"],
        Field(description="Which of the passes that reached `step`."),
    ] = "reached"
    ended: Annotated[str | None, Field(max_length=200, description="Passes that ended in this way.")] = None
    standing: Annotated[str | None, Field(max_length=200, description="Leads that stand in this status now.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str | None, Field(description="`next` of the previous answer.")] = None


def query_of(parameters: FunnelParameters, config: Config, now: datetime, by: str = "") -> FunnelQuery:
    """Return what is asked for. Raises `Problem` 422."""
    start = _time(parameters.from_, "from", now)
    end = now if parameters.to is None else _time(parameters.to, "to", now)
    if start < now - HISTORY_DAYS * _DAY:
        raise refusal("from", f"is too long ago; reports cover the last {HISTORY_DAYS} days")
    if end <= start:
        raise refusal("to", "is not after the begin of the period; give a later time")
    return FunnelQuery(
        steps=steps_of(config),
        start=micros(start),
        end=micros(min(end, now)) + (end >= now),
        basis=parameters.basis,
        passes=parameters.passes,
        by=by,
        per=parameters.per,
        filters=parameters.filters,
    )


def _time(text: str, field: str, now: datetime) -> datetime:
    try:
        return now - positive_duration(text)
    except PydanticCustomError:
        pass
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        pass
    try:
        return _moment.validate_python(text)
    except ValidationError:
        raise refusal(field, "is no span such as 90d, no day such as 2026-12-01, and no time with its offset") from None


def refusal(field: str, detail: str) -> Problem:
    """Return the answer to a parameter that is wrong."""
    pointer = FieldFault(pointer=f"query:{field}", detail=detail)
    return Problem(
        422, "Invalid period" if field in ("from", "to") else "Invalid request", f"`{field}` {detail}.", [pointer]
    )


def link(query: FunnelQuery, more: Mapping[str, Any] | None = None) -> str:
    """Return the link of the leads behind a figure. `more`: further parameters; None: one that falls away."""
    values: dict[str, Any] = {
        "from": _iso(query.start),
        "to": _iso(query.end),
        "basis": query.basis,
        "passes": query.passes,
        **query.filters,
        **(more or {}),
    }
    return f"{LEADS_PATH}?{urlencode({name: value for name, value in values.items() if value is not None})}"


def _iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")


ReportQuery = Annotated[FunnelReportParameters, Query()]
LeadsQuery = Annotated[FunnelLeadsParameters, Query()]
