"""Converts the row of a list to events in the short form."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from firsthour.operations.importing.columns import NOTHING, OPT_OUT, TIME, ListColumn, ListKind
from firsthour.operations.importing.csv_rows import CsvRecord
from services.gateway.domain.coerce import boolean

ShortForm = dict[str, Any]
TYPES: Final[Mapping[ListKind, str]] = {
    ListKind.lead: "lead.imported",
    ListKind.company: "lead.updated",
    ListKind.opportunity: "opportunity.changed",
    ListKind.cost: "cost.recorded",
}
_IDENTIFIERS: Final = ("email", "phone", "crm_id", "anonymous_id")
_NEEDED: Final[Mapping[ListKind, tuple[str, ...]]] = {
    ListKind.lead: _IDENTIFIERS,
    ListKind.company: ("company.domain",),
    ListKind.opportunity: _IDENTIFIERS,
    ListKind.cost: ("cost",),
}
"""The fields of which a row must have one."""
_CONSENT: Final = "consent"
_DOTTED_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.((?:19|20)\d\d)(?:[ T](.+))?", re.ASCII)  # 31.12.2026
_ID_CHARS: Final = 32  # of a digest in hexadecimal


class RowEvents:
    """Makes the events of rows. `id_index`: the column of ids. None: the number of the row in its file is the id."""

    def __init__(self, kind: ListKind, columns: Sequence[ListColumn], id_index: int | None, digest: str) -> None:
        self._kind = kind
        self._columns = [column for column in columns if column.target != NOTHING]
        self._id_index = id_index
        self._digest = digest

    def of(self, record: CsvRecord) -> tuple[list[ShortForm], str]:
        """Return the events of a row, and its fault. A row has events or a fault.

        The same row has the same ids in every import: of its file, or, with a column of ids, of any file.
        """
        if record.fault:
            return [], record.fault
        fields = self._fields(record.cells)
        needed = _NEEDED[self._kind]
        if not any(name in fields for name in needed):
            return [], f"has no {' and no '.join(needed)}; fill one of them"
        opt_out = fields.get(OPT_OUT)
        if (
            opt_out is not None and boolean(opt_out) is None
        ):  # an opt-out is never lost by a word that is not understood
            return [], f"has `{opt_out[:50]}` in the column of opt-outs; write yes or no"
        id = self._id(record)
        if id is None:
            return [], "has no id; fill its column, or leave --id out"
        return self._events(fields, id), ""

    def _fields(self, cells: Sequence[str]) -> dict[str, str]:
        """Return the filled fields of a row. Of two for one field the better name counts; the other is a custom fact."""
        best: dict[str, tuple[int, str, str]] = {}
        for column in self._columns:
            text = cells[column.index].strip()
            if not text:
                continue
            rival = best.get(column.target)
            mine = (column.rank, column.name, text)
            if rival is None:
                best[column.target] = mine
                continue
            if mine[0] < rival[0]:
                best[column.target], mine = mine, rival
            if mine[2] != best[column.target][2]:
                best[f"custom.{mine[1]}"] = mine
        return {target: text for target, (_, _, text) in best.items()}

    def _id(self, record: CsvRecord) -> str | None:
        if self._id_index is None:
            return f"{self._digest[:_ID_CHARS]}:{record.number}"
        own = record.cells[self._id_index].strip()
        if not own:
            return None
        content = "\x1f".join((own, *(record.cells[column.index] for column in self._columns)))
        return f"{self._kind}:{sha256(content.encode(errors='replace')).hexdigest()[:_ID_CHARS]}"

    def _events(self, fields: dict[str, str], id: str) -> list[ShortForm]:
        event: ShortForm = {"id": id, "type": TYPES[self._kind]}
        if self._kind is not ListKind.cost:
            event |= {name: fields.pop(name) for name in _IDENTIFIERS if name in fields}
        time = fields.pop(TIME, None)
        if time is not None:
            event[TIME] = _iso(time)
        opted_out = boolean(fields.pop(OPT_OUT, None)) is True
        consent = fields.get(_CONSENT)
        if consent is not None and boolean(consent) is not False:  # a list never subscribes a person again
            fields["custom.consent"] = fields.pop(_CONSENT)
        event["data"] = fields
        if not (opted_out or _CONSENT in fields):
            return [event]
        withdrawn = {name: value for name, value in event.items() if name != "data"}
        reason = {"reason": "opted out in an imported list"}
        return [withdrawn | {"id": f"{id}:opt-out", "type": "consent.withdrawn", "data": reason}, event]


def _iso(text: str) -> str:
    """Return a date such as 31.12.2026 in ISO 8601, and any other text unchanged."""
    match = _DOTTED_DATE.fullmatch(text)
    if match is None:
        return text
    day, month, year, clock = match.groups()
    return f"{year}-{month:0>2}-{day:0>2}" + (f"T{clock}" if clock else "")
