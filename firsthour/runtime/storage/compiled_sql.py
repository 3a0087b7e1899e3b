"""The SQL text of a statement: for one row, over arrays of rows, and joined with other statements."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, cast

from sqlalchemy.engine import Dialect

_PARAMETER: Final = re.compile(r"\$(\d+)(?:::(\w+(?: PRECISION)?))?")
_ONE_INSERT: Final = re.compile(r"(INSERT INTO .*?)\sVALUES \(([^()]*)\)(.*?)(?:\sRETURNING .*)?", re.DOTALL)
_ONE_UPDATE: Final = re.compile(r"(UPDATE .*?)\s(WHERE .*)", re.DOTALL)
_NUMBER: Final = re.compile(r"\$(\d+)")


class Compiled(NamedTuple):
    """A statement for the driver of one dialect."""

    text: str
    order: tuple[str, ...]  # names of the parameters, by position
    constants: Mapping[str, Any]  # values that the statement itself sets, by parameter; None for the other parameters
    per_row: tuple[str, ...]  # names of the parameters that differ from row to row, without repetitions


def compile_statement(statement: Any, dialect: Dialect) -> Compiled:
    """Compile a Core statement for one row."""
    compiled = cast(Any, statement.compile(dialect=dialect))
    order = tuple(compiled.positiontup or ())
    per_row = tuple(dict.fromkeys(name for name in order if compiled.binds[name].required))
    return Compiled(str(compiled), order, compiled.params, per_row)


def over_rows(one: Compiled) -> Compiled:
    """Return the same INSERT or UPDATE for many rows, which PostgreSQL reads from arrays as the table `u`.

    Its parameters are an array for each parameter that differs from row to row, then the constants. The types of the
    arrays are those to which the one-row statement casts its parameters.
    """
    constants = tuple(name for name in dict.fromkeys(one.order) if name not in one.per_row)
    types: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        name = one.order[int(match[1]) - 1]
        cast_to = f"::{match[2]}" if match[2] else ""
        if name in constants:
            return f"${len(one.per_row) + constants.index(name) + 1}{cast_to}"
        if match[2]:
            types[name] = match[2]
        return f'u."{name}"'

    text = _PARAMETER.sub(replace, one.text)
    arrays = ", ".join(f"${n}::{types[name]}[]" for n, name in enumerate(one.per_row, 1))
    names = ", ".join(f'"{name}"' for name in one.per_row)
    if insert := _ONE_INSERT.fullmatch(text):
        rows = f"unnest({arrays}) WITH ORDINALITY AS u({names}, ordinality) ORDER BY u.ordinality"
        text = f"{insert[1]} SELECT {insert[2]} FROM {rows}{insert[3]}"  # noqa: S608  # parts of our own statements
    elif update := _ONE_UPDATE.fullmatch(text):
        text = f"{update[1]} FROM unnest({arrays}) AS u({names}) {update[2]}"
    else:
        raise ValueError(f"the statement has no form for many rows; use a plain INSERT or UPDATE: {one.text}")
    return Compiled(text, one.per_row + constants, one.constants, one.per_row)


def join_texts(parts: Sequence[Compiled]) -> str:
    """Return one statement that runs all parts. Its parameters are those of the parts, in order."""
    texts: list[str] = []
    count = 0  # of the parameters so far
    for n, part in enumerate(parts):
        texts.append(f"w{n} AS ({_NUMBER.sub(partial(_shift, by=count), part.text)})")
        count += len(part.order)
    return f"WITH {', '.join(texts)} SELECT 1"


def _shift(parameter: re.Match[str], by: int) -> str:
    return f"${int(parameter[1]) + by}"
