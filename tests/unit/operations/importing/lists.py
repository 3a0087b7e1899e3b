"""Lists that tests import, and the answer of an installation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firsthour.operations.importing.columns import ListKind
from firsthour.operations.importing.plan import ImportPlan, plan_of

LEADS = "Vorname,E-Mail,Mitarbeiterzahl,Stand\nAnn,ann@acme.example,51-200,A 7\nBo,bo@acme.example,,\n"


def write(place: Path, content: str | bytes, name: str = "leads.csv") -> Path:
    """Write a file, and return its path."""
    file = place / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def plan(file: Path, kind: ListKind = ListKind.lead, maps: Sequence[str] = (), **options: Any) -> ImportPlan:
    """Return the plan of an import."""
    defaults = {"source": "fair", "id_column": None, "encoding": None, "separator": None, "target": "here"}
    return plan_of(kind, file, maps=maps, **{**defaults, **options})


def events(file: Path, kind: ListKind = ListKind.lead, maps: Sequence[str] = (), **options: Any) -> list[Any]:
    """Return the events of each row, or its fault."""
    items = [item for batch in plan(file, kind, maps, **options).batches() for item in batch]
    return [item.fault or json.loads(item.body) for item in items]


class FakeInstallation:
    """Accepts rows. `refused`: the errors of rows by their e-mail address. `fails_after`: batches until it fails."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.refused: dict[str, str] = {}
        self.fails_after: int | None = None
        self.silent = 0

    async def __call__(self, body: bytes) -> dict[str, Any] | None:
        if self.silent:
            self.silent -= 1
            return None
        if self.fails_after is not None:
            if not self.fails_after:
                raise ConnectionAbortedError
            self.fails_after -= 1
        rows = json.loads(body)["rows"]
        rejected = [
            {"row": index, "error": self.refused[row[0]["email"]]}
            for index, row in enumerate(rows)
            if row[0].get("email") in self.refused
        ]
        self.rows += [row for row in rows if row[0].get("email") not in self.refused]
        return {"accepted": len(rows) - len(rejected), "events": len(rows), "rejected": rejected}

    @property
    def ids(self) -> set[str]:
        """The ids of all accepted rows: a repeated one has no effect."""
        return {row[0]["id"] for row in self.rows}
