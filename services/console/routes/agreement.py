"""`/console/agreement`: the agreement in force for people, its history with differences, and the check of a draft."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request, Response
from msgspec import json

from firsthour.kernel.printable import printable
from firsthour.runtime.http.in_process import path_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console import wording
from services.console.catalogue import locale_of
from services.console.console import Console
from services.console.fences import fence_picture
from services.console.viewer import Viewer, problem_of

PATH: Final = "/console/agreement"
DRAFT: Final = f"{PATH}/draft"
CHANGES: Final = f"{PATH}/changes"
VERSIONS_AT_ONCE: Final = 10
VERSION_CHARS_MAX: Final = 64
FILES: Final = ("agreement", "team", "sources")
DRAFT_CHARS_MAX: Final = 128 * 1024
DRAFT_BYTES_MAX: Final = 12 * DRAFT_CHARS_MAX + 4096
"""The body of a form with the longest draft: a character takes up to twelve bytes there."""
AROUND: Final = 1  # lines shown before and after that of a finding
LINE_CHARS: Final = 160
BEFORE: Final = 60  # characters of a long line shown before the place


class ShownLine(NamedTuple):
    """A line of a draft. `before`, `at`, `after`: its text around the column of the finding; other lines have no `at`."""

    number: int
    before: str
    at: str
    after: str


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    viewers, pages = console.viewers, console.pages

    @api.get(PATH)
    async def in_force(request: Request, cursor: str = "") -> Response:
        """The agreement in force, and its history."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "agreement.html", path=PATH, **await _agreement(viewer, cursor))

    @api.get(CHANGES)
    async def changes(request: Request, version: str, since: str) -> Response:
        """The differences of two versions."""
        viewer = await viewers.find(request)
        path = path_of("/v1/agreement/versions/{version}/changes", version=version[:VERSION_CHARS_MAX])
        compared = await viewer.get(path, {"since": since[:VERSION_CHARS_MAX]})
        lines = [{**line, "text": printable(line["text"])} for line in compared["items"]]
        return pages.page(viewer, "agreement_changes.html", path=PATH, compared=compared, lines=lines)

    @api.get(DRAFT)
    async def draft(request: Request) -> Response:
        """The form for a draft."""
        viewer = await viewers.find(request)
        return pages.page(viewer, "agreement_draft.html", path=PATH, **_checked("agreement", ""))

    @api.post(DRAFT)
    async def check(request: Request) -> Response:
        """The findings in a draft. Nothing is changed."""
        viewer, fields = await viewers.acting(
            request, chars_max=2 * DRAFT_CHARS_MAX + 1
        )  # a browser ends lines with two
        file = fields.get("file", "") if fields.get("file", "") in FILES else FILES[0]
        text = fields.get("text", "").replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > DRAFT_CHARS_MAX:
            problem = Problem(413, "", f"The draft has more than {DRAFT_CHARS_MAX:,} characters. Shorten it.")
            shown = _checked(file, "", problem=problem)
            return pages.page(viewer, "agreement_draft.html", code=413, path=PATH, **shown)
        answer = await viewer.send("POST", "/v1/agreement/check", body=json.encode({file: text}))
        if not answer.ok:
            shown = _checked(file, text, problem=problem_of(answer))
            return pages.page(viewer, "agreement_draft.html", code=answer.status, path=PATH, **shown)
        return pages.page(viewer, "agreement_draft.html", path=PATH, **_checked(file, text, answer.json()))


async def _agreement(viewer: Viewer, cursor: str) -> dict[str, Any]:
    in_force = await viewer.get("/v1/agreement")
    agreement = in_force["agreement"]
    lifecycle, locale = agreement["lifecycle"], locale_of(viewer.language)
    query = {"limit": VERSIONS_AT_ONCE, "cursor": cursor[:VERSION_CHARS_MAX] or None}
    pools = (await viewer.get("/v1/pools"))["items"] if viewer.may("sales") else []
    return {
        "in_force": in_force,
        "agreement": agreement,
        "urgencies": list(wording.urgencies(agreement)),
        "picture": fence_picture(lifecycle["statuses"], lifecycle["transitions"]),
        "pools": {pool["id"]: pool for pool in pools},
        "history": await viewer.get("/v1/agreement/versions", query),
        "words": wording,
        "spoken": lambda codes: wording.languages(codes, locale),
        "lasting": lambda text: wording.duration(text, locale),
    }


def _checked(
    file: str, text: str, report: Mapping[str, Any] | None = None, problem: Problem | None = None
) -> dict[str, Any]:
    """Return what the page of a draft shows. `report`: None: nothing was checked yet."""
    lines = text.split("\n")
    found = [] if report is None else report["findings"]
    return {
        "file": file,
        "files": FILES,
        "text": text,
        "report": report,
        "problem": problem,
        "findings": [
            (finding, _around(lines, finding) if finding["file"] == f"{file}.yaml" else []) for finding in found
        ],
        "chars_max": DRAFT_CHARS_MAX,
    }


def _around(lines: Sequence[str], finding: Mapping[str, Any]) -> list[ShownLine]:
    """Return the lines of the draft around a finding. Long lines are cut, and marks that hide or reorder are escapes."""
    at = finding["line"] - 1
    shown = []
    for number in range(max(0, at - AROUND), min(len(lines), at + AROUND + 1)):
        line = lines[number]
        if number != at:
            shown.append(ShownLine(number + 1, _cut(line, 0, LINE_CHARS), "", ""))
            continue
        column = min(max(finding["column"] - 1, 0), len(line))
        first = max(0, column - BEFORE)
        shown.append(
            ShownLine(
                number + 1,
                ("…" if first else "") + printable(line[first:column]),
                printable(line[column : column + 1]) or " ",
                _cut(line, column + 1, LINE_CHARS - BEFORE),
            )
        )
    return shown


def _cut(line: str, start: int, length: int) -> str:
    return printable(line[start : start + length]) + ("…" if len(line) > start + length else "")
