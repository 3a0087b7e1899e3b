"""Compiles conditions (`schemas.conditions`) to SQL over the documents of `firsthour.kernel.conditions.comparable`.

The result is true for exactly the facts for which the compiled condition holds, on both databases. Each test is true or false,
never NULL, so that `not` means the same as in Python. Names and values are bound as parameters. Parts of texts are found by
position and not with LIKE, so no character of a value has a meaning of its own.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from firsthour.kernel.conditions.comparable import key, moment_form, number_form
from firsthour.kernel.conditions.domain_forms import domain_pattern
from firsthour.kernel.conditions.operands import normalised
from firsthour.kernel.conditions.source import UnknownOpError
from firsthour.kernel.conditions.text_forms import fold, sentence
from schemas.conditions.moments import instant, span_us
from schemas.conditions.tree import AllOf, AnyOf, Node, Not, Test

Clause = sa.ColumnElement[Any]
_JOINED_MAX: Final = 50

_BOUNDS: Final[dict[str, Callable[[Clause, Clause], Clause]]] = {
    "gt": lambda form, bound: form > bound,
    "gte": lambda form, bound: form >= bound,
    "lt": lambda form, bound: form < bound,
    "lte": lambda form, bound: form <= bound,
}
_ABOVE: Final = {"gt": "gte", "gte": "gte", "lt": "lt", "lte": "lt"}
_BELOW: Final = {"gt": "gt", "gte": "gt", "lt": "lte", "lte": "lte"}


class ConditionSql:
    """Compiles conditions over one column of documents."""

    def __init__(self, document: Clause, dialect: str, now: int | None = None) -> None:
        """Take a column.

        Args:
            document: A JSON document of `comparable`: JSONB or text on PostgreSQL, text on SQLite.
            dialect: `sqlite` or `postgresql`.
            now: The time at which the conditions are judged (microseconds). None: `within` is false.
        """
        self._sqlite = dialect == "sqlite"
        self._document = document if self._sqlite else sa.cast(document, postgresql.JSONB)
        self._now = now

    def where(self, node: Node) -> Clause:
        """Return the condition as a clause. Raises `UnknownOpError`."""
        match node:
            case Test():
                return sa.func.coalesce(self._test(node), sa.false(), type_=sa.Boolean)
            case Not(part):
                return sa.case((self.where(part), sa.false()), else_=sa.true())
            case AllOf(parts):
                return _joined(sa.and_, [self.where(part) for part in parts], sa.true())
            case AnyOf(parts):
                return _joined(sa.or_, [self.where(part) for part in parts], sa.false())

    def _form(self, letter: str, field: str) -> Clause:
        """Return a form of the field; NULL: the field has no such form."""
        name = key(letter, field)
        if self._sqlite:
            return sa.func.json_extract(self._document, _bound(f'$."{name}"'), type_=sa.Text)
        found = self._document.op("->>", return_type=sa.Text)(_bound(name))
        return sa.collate(found, "C")

    def _any_of(self, form: Clause, values: Iterable[str]) -> Clause:
        listed = sorted(values)
        if self._sqlite:
            rows = sa.func.json_each(_bound(json.dumps(listed))).table_valued("value")
            return form.in_(sa.select(rows.c.value))
        return form == sa.any_(sa.bindparam(None, listed, type_=postgresql.ARRAY(sa.Text), unique=True))

    def _contains(self, form: Clause, part: str) -> Clause:
        position = sa.func.instr if self._sqlite else sa.func.strpos
        return position(form, _bound(part), type_=sa.Integer) > 0 if part else form.is_not(None)

    def _test(self, test: Test) -> Clause:
        field, op = test.field, test.op
        values = [
            normalised(field, op, value) for value in (test.value if isinstance(test.value, tuple) else (test.value,))
        ]
        match op:
            case "eq" | "in":
                return _joined(sa.or_, [self._any_of(*one) for one in self._by_type(field, values)], sa.false())
            case "ne" | "not_in":
                return self._none_of(field, values)
            case "gt" | "gte" | "lt" | "lte" | "between":
                return self._ordered(field, op, values)
            case "within":
                return self._within(field, test.value)
            case "exists":
                present = sa.func.coalesce(*(self._form(letter, field) for letter in "tnb"))
                return present.is_not(None) if test.value else present.is_(None)
        return self._part(field, op, [value for value in values if isinstance(value, str)])

    def _part(self, field: str, op: str, values: Sequence[str]) -> Clause:
        if op == "matches_domain":
            return _joined(sa.or_, [self._below(field, value) for value in values], sa.false())
        text, parts = self._form("t", field), [fold(value) for value in values]
        match op:
            case "has_word":
                words = sa.func.coalesce(self._form("w", field), _bound(" ") + text + _bound(" "), type_=sa.Text)
                tests = [self._contains(words, phrase) for phrase in map(sentence, parts) if phrase]
            case "contains":
                tests = [self._contains(text, part) for part in parts]
            case "starts_with":
                tests = [sa.func.substr(text, 1, len(part), type_=sa.Text) == _bound(part) for part in parts]
            case "ends_with":
                tests = [self._end(text, part) for part in parts]
            case _:
                raise UnknownOpError(f"condition on {field}: unknown operator {op!r}")
        return _joined(sa.or_, tests, sa.false())

    def _end(self, text: Clause, part: str) -> Clause:
        if not part:
            return text.is_not(None)
        length = len(part)
        end = (
            sa.func.substr(text, -length, type_=sa.Text) if self._sqlite else sa.func.right(text, length, type_=sa.Text)
        )
        return end == _bound(part)

    def _by_type(self, field: str, values: Sequence[object]) -> list[tuple[Clause, set[str]]]:
        """Return each form of the field of the type of some of the values, with those that a fact can equal."""
        forms: dict[str, list[str | None]] = {
            "t": [fold(value) for value in values if isinstance(value, str)],
            "n": [_exact_number(value) for value in values if _is_number(value)],
            "b": [str(int(value)) for value in values if isinstance(value, bool)],
        }
        return [
            (self._form(letter, field), {form for form in operands if form is not None})
            for letter, operands in forms.items()
            if operands
        ]

    def _none_of(self, field: str, values: Sequence[object]) -> Clause:
        forms = self._by_type(field, values)
        return _joined(
            sa.or_, [sa.and_(form.is_not(None), sa.not_(self._any_of(form, ops))) for form, ops in forms], sa.false()
        )

    def _ordered(self, field: str, op: str, limits: Sequence[object]) -> Clause:
        ops = ("gte", "lte") if op == "between" else (op,)
        if len(limits) != len(ops):
            return sa.false()
        moments = [instant(limit) for limit in limits if isinstance(limit, str)]
        if len(moments) == len(limits):
            form = self._form("i", field)
            bounds = [(one, moment_form(at)) for one, at in zip(ops, moments, strict=True) if at is not None]
        elif all(map(_is_number, limits)):
            form = sa.func.coalesce(self._form("m", field), self._form("n", field), type_=sa.Text)
            bounds = [_number_bound(one, limit) for one, limit in zip(ops, limits, strict=True)]
        else:
            return sa.false()
        if len(bounds) != len(ops):
            return sa.false()
        return sa.and_(*(_BOUNDS[one](form, _bound(text)) for one, text in bounds))

    def _within(self, field: str, span: object) -> Clause:
        bounds = span_us(span) if isinstance(span, str) else None
        if bounds is None or self._now is None:
            return sa.false()
        form, (first, last) = self._form("i", field), (moment_form(self._now + bound) for bound in bounds)
        return sa.and_(form >= _bound(first), form <= _bound(last))

    def _below(self, field: str, domain: str) -> Clause:
        pattern = domain_pattern(domain)
        if pattern is None:
            return sa.false()
        host = self._form("d", field)
        below = sa.or_(host == _bound(pattern.host), self._end(host, f".{pattern.host}"))
        return sa.and_(self._form("r", field) == _bound(pattern.registrable), below)


def _bound(text: str) -> sa.BindParameter[str]:
    return sa.bindparam(None, text, type_=sa.Text, unique=True)


def _joined(join: Callable[..., Clause], parts: Sequence[Clause], empty: Clause) -> Clause:
    """Join the parts as a balanced tree: SQLite refuses an expression that is more than 1,000 levels deep."""
    if len(parts) <= _JOINED_MAX:
        return join(*parts) if parts else empty
    middle = len(parts) // 2
    halves = (_joined(join, half, empty) for half in (parts[:middle], parts[middle:]))
    # SQLAlchemy makes one flat list of nested OR; it does not look into a function.
    return join(*(sa.func.coalesce(half, sa.false(), type_=sa.Boolean) for half in halves))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _double(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _exact_number(value: object) -> str | None:
    """Return the form of a number. None: no fact equals it, because it is no double."""
    nearest = _double(value)
    return number_form(nearest) if nearest == value else None


def _number_bound(op: str, limit: Any) -> tuple[str, str]:
    """Return the operator and the form for a bound. A whole number that is no double lies between two of them."""
    nearest = _double(limit)
    if nearest != limit:
        op = (_ABOVE if nearest > limit else _BELOW)[op]
    return op, number_form(nearest)
