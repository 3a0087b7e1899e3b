"""The functions that ARCHITECTURE.md lists exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTION = "## One request, from socket to page"
_LINK = re.compile(r"\]\(([^)]+\.py)\)")
_NAME = re.compile(r"`([\w.]+)`")


def rows() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each row with files: its text, the files, the names of the functions."""
    section = (ROOT / "ARCHITECTURE.md").read_text().split(SECTION)[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| [") and len(cells := line.strip("| ").split(" | ")) == 3:
            yield line, _LINK.findall(cells[0]), _NAME.findall(cells[1])


def functions(file: str) -> set[str]:
    """Return the functions of a file and the methods of its classes, these also as `Class.method`."""
    names: set[str] = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            names |= {*methods, *(f"{node.name}.{method}" for method in methods)}
    return names


@pytest.mark.parametrize(("row", "files", "names"), list(rows()))
def test_listed_functions_exist(row: str, files: list[str], names: list[str]) -> None:
    assert names, row
    assert set(names) <= set().union(*map(functions, files)), row


def test_section_lists_more_than_thirty_rows() -> None:
    assert len(list(rows())) > 30
