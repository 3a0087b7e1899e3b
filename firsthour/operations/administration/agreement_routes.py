"""The routes of the agreement: the version in force, its history with the differences, and the check of a draft."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy.engine import Connection

from firsthour.kernel.time_units import micros, moment
from firsthour.runtime.config import drafts, written
from firsthour.runtime.http import page_cursors
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import READ, Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.http.turn_queue import TurnQueue
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.storage import installation
from schemas.http import RequestModel

Reader = Annotated[Principal, Depends(needs(READ))]
DRAFT_CHARS_MAX: Final = 128 * 1024
CHECK: Final = "/v1/agreement/check"
CHECK_BYTES_MAX: Final = 3 * 6 * DRAFT_CHARS_MAX
"""Three files of the longest length, of characters that JSON writes in up to six bytes."""
CHECKS_MAX: Final = 3
LISTED_MAX: Final = 50
_CURSOR = re.compile(rf"{page_cursors.MICROSECONDS}\.{page_cursors.COUNT}", re.ASCII)
_Text = Annotated[str, Field(max_length=DRAFT_CHARS_MAX)]
_Since = Query(max_length=64, description="The version to compare with.")


class DraftBody(RequestModel):
    """The texts of a draft. A file that is absent is the one in force."""

    agreement: _Text | None = Field(None, description="The text of agreement.yaml.")
    team: _Text | None = Field(None, description="The text of team.yaml.")
    sources: _Text | None = Field(None, description="The text of sources.yaml.")

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts by the name of their file."""
        return {f"{name}.yaml": text for name, text in self if text is not None}


def add_agreement_routes(api: APIRouter, resources: Resources) -> None:
    """Add the routes of the agreement."""
    _add_history(api, resources)
    queue = TurnQueue(CHECKS_MAX, "Other drafts are being checked; try again in a few seconds.")

    @api.get("/v1/agreement", tags=["agreement"])
    async def in_force(principal: Reader) -> dict[str, Any]:
        """The agreement in force, with all defaults filled in. Of `channels` only the kinds are shown."""
        config, now = resources.config.current, resources.clock.business()
        agreement = config.agreement.model_dump(mode="json", by_alias=True)
        periods = await resources.reads(
            lambda connection: installation.periods_before(connection, (micros(now) + 1, 0), 1)
        )
        known = periods[0] if periods and periods[0].version == config.version else None
        return {
            "version": config.version,
            "from": None if known is None else moment(known.began_at),
            "loaded_by": None if known is None else known.loaded_by or None,
            "agreement": _shown(agreement),
        }

    @api.post(CHECK, tags=["agreement"])
    async def check(body: DraftBody, principal: Reader) -> dict[str, Any]:
        """Check a draft of the configuration files, beside those in force. Nothing is changed. Without a text, those in force are
        checked.

        `ok`: it could come into force, as `version`. Of each finding, `file`, `line` and `column` count from 1; a `mistake` keeps the
        draft out, a `warning` does not. `more`: findings that are left out. Secrets and the accounts of channels are not examined:
        `firsthour agreement check` does that where the program runs.
        """
        async with queue.turn():
            report = await asyncio.to_thread(drafts.examine, body.texts, resources.config.texts)
        return {
            "ok": report.version is not None,
            "version": report.version,
            "findings": [finding._asdict() for finding in report.findings],
            "more": report.more,
        }


def _add_history(api: APIRouter, resources: Resources) -> None:
    queue = TurnQueue(CHECKS_MAX, "Other versions are being compared; try again in a few seconds.")

    @api.get("/v1/agreement/versions", tags=["agreement"])
    async def versions(
        principal: Reader,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 20,
        cursor: Annotated[str | None, Query(description="`next` of the previous answer.")] = None,
    ) -> dict[str, Any]:
        """List when each version of the three files was in force, newest first.

        `from` in the future: it comes into force then. `changed`: the files that differ from the version before. `loaded_by`: `files`
        if a running process read its files, else the person who ran `firsthour apply`; null: an older release did not note it.
        """
        parts = page_cursors.read(cursor, _CURSOR)
        position = (int(parts[0]), int(parts[1])) if parts else installation.NEWEST
        rows = await resources.reads(lambda connection: installation.periods_before(connection, position, limit + 1))
        end = moment(position[0]) if parts else None
        items = list(_periods(rows, end, resources.clock.business()))[:limit]
        last = rows[limit - 1] if len(rows) > limit else None
        return {"items": items, "next": f"{last.began_at}.{last.id}" if last is not None else None}

    @api.get("/v1/agreement/versions/{version}/changes", tags=["agreement"])
    async def changes(version: str, principal: Reader, since: Annotated[str, _Since]) -> dict[str, Any]:
        """Compare the agreements of two versions line by line, as YAML with all defaults filled in.

        `sign`: `+` added, `-` removed, a space: unchanged, `@`: unchanged lines are left out. `complete`: these are all differences.
        """

        def read(connection: Connection) -> tuple[str, str]:
            before, after = (_found(connection, name) for name in (since, version))
            return before, after

        before, after = await resources.reads(read)
        async with queue.turn():
            lines, complete = await asyncio.to_thread(_compare, before, after)
        items = [line._asdict() for line in lines]
        return {"version": version, "since": since, "items": items, "complete": complete, "next": None}


def _found(connection: Connection, version: str) -> str:
    agreement = installation.agreement_of(connection, version)
    if agreement is None:
        raise Problem(404, "Unknown version", f"Version {version!r} has not been in force: GET /v1/agreement/versions.")
    return agreement


def _compare(before: str, after: str) -> tuple[list[written.LineChange], bool]:
    decode = msgspec.json.decode
    return written.differences(_shown(decode(before)), _shown(decode(after)))


def _shown(agreement: dict[str, Any]) -> dict[str, Any]:
    """Return the agreement without the addresses of its channels, which may hold a secret."""
    channels: Mapping[str, Any] = agreement.get("channels") or {}
    return {**agreement, "channels": {name: {"kind": way["kind"]} for name, way in channels.items()}}


def _periods(rows: Sequence[Any], end: datetime | None, now: datetime) -> list[dict[str, Any]]:
    """Return the periods, the newest first, each with the files that differ from the one before.

    `end`: of the newest of these periods. None: it has none.
    """
    items = []
    for row, older in pairwise([*rows, None]):
        begin = moment(row.began_at)
        items.append(
            {
                "version": row.version,
                "from": begin,
                "to": end,
                "in_force": begin <= now and (end is None or now < end),
                "loaded_by": row.loaded_by or None,
                "before": None if older is None else older.version,
                "changed": None if older is None else _changed(row, older),
            }
        )
        end = begin
    return items


def _changed(row: Any, older: Any) -> list[str]:
    """Return the files that differ. Only the agreement and the team are stored: any other change is one of the sources."""
    changed = [name for name in ("agreement", "team") if getattr(row, name) != getattr(older, name)]
    return changed or ["sources"]
