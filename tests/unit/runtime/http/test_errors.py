"""The error tree: every class has one base class and one outcome."""

import ast
import importlib
import re
import sqlite3
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from firsthour.cli import error_report
from firsthour.runtime.config.reading import ConfigError
from firsthour.runtime.http.errors import OUTCOMES, as_problem, exit_code_of, outcome_of
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.config_versions import NothingAppliedError
from firsthour.runtime.storage.data_directory import AlreadyRunningError
from firsthour.runtime.storage.unit import StorageError
from schemas.envelope import UnknownEventError
from schemas.errors import FirstHourError

ROOT = Path(__file__).resolve().parents[4]


_NAMED = re.compile(r"^class \w*(Error|Problem)\b", re.MULTILINE)


@cache
def error_classes() -> dict[str, type]:
    """Return the public exception classes in the source, by name."""
    classes: dict[str, type] = {}
    for package in ("schemas", "services", "firsthour"):
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text()
            if not _NAMED.search(text):
                continue
            names = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
            module = importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
            kinds = {name: getattr(module, name) for name in names if not name.startswith("_")}
            classes |= {name: kind for name, kind in kinds.items() if issubclass(kind, BaseException)}
    return classes


def test_every_error_class_derives_from_the_base_class() -> None:
    assert [name for name, kind in error_classes().items() if not issubclass(kind, FirstHourError)] == []


def test_map_has_exactly_the_error_classes() -> None:
    names = {name for name in OUTCOMES if "." not in name}
    assert names == set(error_classes())


def test_library_errors_in_the_map_exist() -> None:
    for name in OUTCOMES:
        module, _, kind = name.rpartition(".")
        assert not module or issubclass(getattr(importlib.import_module(module), kind), Exception)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (ConfigError(()), 2, 500),
        (AlreadyRunningError(), 1, 500),
        (StorageError(), 1, 503),
        (NothingAppliedError(), 1, 503),
        (UnknownEventError(), None, 500),
        (OSError(), 1, 500),
        (PermissionError(), 1, 500),
        (IntegrityError("", {}, sqlite3.IntegrityError()), 1, 500),
        (ValueError(), None, 500),
        (Problem(404, "Unknown lead"), None, 404),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_error_has_the_exit_code_and_the_status_of_its_class(error: Exception, code: int | None, status: int) -> None:
    assert (outcome_of(error).exit_code, as_problem(error).status) == (code, status)
    assert exit_code_of(error) == (code or 1)


def test_library_error_with_a_name_of_ours_has_no_outcome() -> None:
    assert outcome_of(type("StorageError", (Exception,), {})()).exit_code is None


def test_message_of_a_database_error_has_no_statement_and_no_value() -> None:
    error = IntegrityError("INSERT INTO leads", {"email": "ada@northwind.example"}, sqlite3.IntegrityError("leads.id"))
    assert error_report.message(error) == [
        "the database cannot be used (IntegrityError); `firsthour doctor` shows the remedy"
    ]


def test_message_of_a_directory_in_use_ends_with_the_remedy() -> None:
    (line,) = error_report.message(AlreadyRunningError("data: another FirstHour process uses it"))
    assert line == (
        "data: another FirstHour process uses it; try again if it has just started; "
        "otherwise stop that one, or name another directory with --data"
    )
