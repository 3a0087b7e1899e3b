"""The fields that the columns of a list become, for each kind of list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from firsthour.kernel.field_names import ALIAS, CHOSEN, NAME_MAX, FieldNames, fold
from firsthour.operations.importing.csv_format import UnreadableFileError
from firsthour.operations.importing.rejected_rows import own_columns
from schemas.form_fields import FORM_FIELDS, SHORT_NAMES
from schemas.values import did_you_mean, shown

OPT_OUT: Final = "opt-out"
TIME: Final = "time"
NOTHING: Final = "-"
"""The target of a column that is left out."""

Names = Mapping[str, tuple[str, ...]]


class ListKind(StrEnum):
    """The things that a list has rows of."""

    lead = "lead"
    company = "company"
    opportunity = "opportunity"
    cost = "cost"


_MONEY: Final[Names] = {
    "currency": ("currency", "currency code", "currency iso code", "deal currency", "Währung", "devise", "moneda")
}
_OWN_OF_KIND: Final[Mapping[ListKind, Names]] = {
    ListKind.lead: {
        OPT_OUT: (
            *("opt out", "opted out", "email opt out", "opted out of email", "has opted out of email", "unsubscribed"),
            *("unsubscribed from all email", "do not email", "do not contact", "do not call", "hs_email_optout"),
            *(
                "HasOptedOutOfEmail",
                "DoNotCall",
                "abgemeldet",
                "Widerspruch",
                "désabonné",
                "désinscrit",
                "dado de baja",
            ),
        ),
    },
    ListKind.company: {},
    ListKind.opportunity: {
        "opportunity_id": ("opportunity id", "deal id", "opportunity", "record id", "id", "OpportunityId"),
        "stage": ("stage", "stage name", "deal stage", "status", "Phase", "étape", "etapa"),
        "amount": ("amount", "deal amount", "deal value", "value", "Betrag", "Wert", "montant", "importe"),
        TIME: (
            "changed at",
            "updated at",
            "last modified date",
            "close date",
            "closed at",
            "date",
            "time",
            "Datum",
            "fecha",
        ),
        **_MONEY,
    },
    ListKind.cost: {
        "cost": (
            "cost",
            "costs",
            "spend",
            "amount spent",
            "amount",
            "Kosten",
            "Ausgaben",
            "coût",
            "dépenses",
            "coste",
            "gasto",
        ),
        "campaign": ("campaign", "campaign name", "utm_campaign", "Kampagne", "campagne", "campaña"),
        "source": ("source", "utm_source", "Quelle", "fuente"),
        "channel": ("channel", "medium", "utm_medium", "Kanal", "canal"),
        TIME: ("date", "day", "time", "Datum", "Tag", "jour", "fecha", "día", "reporting starts"),
        **_MONEY,
    },
}
"""Fields of a kind besides those of a person, with the names that mean them."""

_COMPANY: Final = tuple(name for name in FORM_FIELDS if name.startswith("company."))
FIELDS: Final[Mapping[ListKind, tuple[str, ...]]] = {
    ListKind.lead: (*FORM_FIELDS, "crm_id", OPT_OUT, TIME),
    ListKind.company: _COMPANY,
    ListKind.opportunity: ("email", "phone", "crm_id", "anonymous_id", *_OWN_OF_KIND[ListKind.opportunity]),
    ListKind.cost: tuple(_OWN_OF_KIND[ListKind.cost]),
}
_OF_COMPANY: Final[Mapping[str, str]] = {"name": "company.name", "country": "company.country"}
"""In a list of companies, these names mean the company."""


@dataclass(frozen=True)
class ListColumn:
    """One column. `target`: our field, `custom.<name>`, or `NOTHING`. `rank`: of two for one field the lower one counts."""

    index: int
    name: str
    target: str
    rank: int


def columns_of(
    kind: ListKind, header: Sequence[str], chosen: Mapping[str, str], id_column: str | None
) -> tuple[list[ListColumn], int | None]:
    """Return the columns, and the index of the column of ids.

    Args:
        kind: The kind of the list.
        header: The names of the columns.
        chosen: The column of each of our fields, as the command names them. A column of `NOTHING` is left out.
        id_column: The column with the id of each row. None: the number of the row is used.

    Raises:
        UnreadableFileError: The header lacks a named column, or the kind has no such field.
    """
    names = own_columns(header)
    targets = {_index(names, column): _target(kind, field) for field, column in chosen.items()}
    table = _names_of(kind)
    columns = []
    for index, name in enumerate(names):
        target, rank = targets.get(index), CHOSEN
        if target is None:
            rank, target = table.get(fold(name)) or _meaning(kind, name)
        columns.append(ListColumn(index, name, target, rank))
    return columns, None if id_column is None else _index(names, id_column)


def _names_of(kind: ListKind) -> dict[str, tuple[int, str]]:
    return {fold(name): (ALIAS, field) for field, names in _OWN_OF_KIND[kind].items() for name in names}


_NAMES: Final = FieldNames()


def _meaning(kind: ListKind, name: str) -> tuple[int, str]:
    meaning = _NAMES[name]
    if meaning is not None and kind is ListKind.company:
        meaning = meaning[0], _OF_COMPANY.get(meaning[1], meaning[1])
    if meaning is not None and meaning[1] in FIELDS[kind]:
        return meaning
    bare = name.removeprefix("custom.")[: NAME_MAX - 7]
    return ALIAS + 1, f"custom.{bare}" if bare else NOTHING


def _index(names: Sequence[str], column: str) -> int:
    if column not in names:
        raise UnreadableFileError(f"there is no column {shown(column)}; {did_you_mean(column, names)}")
    return names.index(column)


def _target(kind: ListKind, field: str) -> str:
    field = SHORT_NAMES.get(field, field)
    if field in FIELDS[kind] or field == NOTHING or (field.startswith("custom.") and field != "custom."):
        return field
    remedy = did_you_mean(field, FIELDS[kind]) + " (your own: `custom.<name>`; a column that is left out: `-`)"
    raise UnreadableFileError(f"{shown(field)} is not a field of a {kind}; {remedy}")
