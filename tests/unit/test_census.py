"""The code stays within the limits of CONTRIBUTING.md."""

import pytest

from tests.proof.census import (
    FILE_LINES_MAX,
    FUNCTION_LINES_MAX,
    IMPORTS_IN_FUNCTIONS,
    MIGRATIONS,
    PROGRAM,
    SourceFile,
    duplicate_classes,
    functions,
    import_cycle,
    imports_in_functions,
    report,
    sources,
)

LARGER_FILES = {
    "tests/contract/test_invariants.py",
    "tests/contract/test_reaching.py",
}


@pytest.fixture(scope="module")
def files() -> list[SourceFile]:
    return sources()


@pytest.fixture(scope="module")
def program(files: list[SourceFile]) -> list[SourceFile]:
    return [source for source in files if source.path.startswith(PROGRAM)]


def test_files_are_at_most_400_lines_long(files: list[SourceFile]) -> None:
    assert FILE_LINES_MAX == 400
    assert {source.path for source in files if source.lines > FILE_LINES_MAX} <= LARGER_FILES


def test_functions_are_at_most_60_lines_long(files: list[SourceFile]) -> None:
    assert FUNCTION_LINES_MAX == 60
    lengths = {
        place: lines for source in files if not source.path.startswith(MIGRATIONS) for place, lines in functions(source)
    }
    assert [place for place, lines in lengths.items() if lines > FUNCTION_LINES_MAX] == []


def test_only_the_command_line_imports_inside_a_function(program: list[SourceFile]) -> None:
    places = [place for source in program for place in imports_in_functions(source)]
    assert sorted(place.partition(":")[0] for place in places) == sorted(IMPORTS_IN_FUNCTIONS)


def test_class_names_are_unique(files: list[SourceFile]) -> None:
    assert duplicate_classes(files) == []


def test_imports_have_no_cycle(files: list[SourceFile]) -> None:
    assert import_cycle(files) == []


def test_census_reports_every_figure(program: list[SourceFile]) -> None:
    names = [line.split("  ")[0] for line in report(program[:20])]
    assert names == ["files", "functions", "import cycle", "imports in functions", "duplicate class names"]
