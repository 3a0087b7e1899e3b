"""Finds identifiers and facts in fields with the names that people use."""

from collections.abc import Mapping
from typing import Final

from firsthour.kernel.field_names import FieldNames
from services.gateway.domain.coerce import Json, last_value, scalar
from services.gateway.domain.identifiers import ID_MAX

REACHED_BY: Final = ("email", "phone")
_IDENTIFIERS: Final = (*REACHED_BY, "anonymous_id")
_COMPANY: Final = "company.name"

_Candidate = tuple[int, str, Json]
"""The rank of a field's name, the name, and the value."""


def named_fields(names: FieldNames, fields: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the identifiers in these fields, and the facts under our names. A field with an unknown name keeps it."""
    data: dict[str, Json] = {}
    short: dict[str, Json] = {}
    winners: dict[str, _Candidate] = {}
    for name, value in fields.items():
        meaning = names[name]
        if meaning is None:
            data[name] = value
        elif meaning[1]:
            rank, standard = meaning
            if standard == _COMPANY and type(value) is dict:  # `company: {name: ...}`
                data["company"] = value
                continue
            rival = winners.get(standard)
            if rival is None:
                winners[standard] = (rank, name, value)
            else:
                winners[standard] = _better(rival, (rank, name, value), data)
    for standard, (_, _, value) in winners.items():
        if standard in _IDENTIFIERS:
            short[standard] = _identifier(value)
        else:
            data[standard] = value
    if "crm_id" in data:
        data["custom.crm_id"] = data.pop("crm_id")
    _demote_invalid_identifiers(short, data)
    return short, data


def _better(rival: _Candidate, candidate: _Candidate, data: dict[str, Json]) -> _Candidate:
    """Return the better of two fields that mean the same. The other is kept under its own name, if it is filled.

    A filled field is better than an empty one, our own name better than an alias, the first better than the second.
    """
    filled, other_filled = (scalar(last_value(one[2])) is not None for one in (rival, candidate))
    if (other_filled, -candidate[0]) > (filled, -rival[0]):
        rival, candidate, other_filled = candidate, rival, filled
    if other_filled and candidate[2] != rival[2]:
        data[f"custom.{candidate[1]}"] = candidate[2]
    return rival


def _identifier(value: Json) -> Json:
    value = last_value(value)
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    # A blank before a digit may be the unencoded plus of an international number, which `mapping` decides.
    return f" {stripped}" if value[:1] == " " and stripped[:1].isdigit() else stripped


def _demote_invalid_identifiers(short: dict[str, Json], data: dict[str, Json]) -> None:
    """Turn identifiers that are not text into custom facts, if another identifier reaches the person."""
    invalid = [name for name in _IDENTIFIERS if not _can_identify(short.get(name))]
    if invalid and any(short.get(name) for name in REACHED_BY if name not in invalid):
        for name in invalid:
            data[f"custom.{name}"] = short.pop(name)


def _can_identify(value: Json) -> bool:
    return value is None or type(value) is int or (type(value) is str and len(value) <= ID_MAX)
