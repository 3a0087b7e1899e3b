"""Measures the code for the limits of CONTRIBUTING.md. `python -m tests.proof.census` prints the figures."""

import ast
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("schemas", "services", "firsthour", "devtools")
PACKAGES = (*PROGRAM, "deploy", "tests")
MIGRATIONS = "deploy/migrations/"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
IMPORTS_IN_FUNCTIONS = (
    "firsthour/cli/commands.py",  # loads a command group by its name
    "firsthour/kernel/public_keys.py",  # its library takes a twentieth of a second, which few installations need
    "firsthour/runtime/storage/migrate.py",  # Alembic takes a tenth of a second, which only a change of tables needs
    "services/notifier/channels/apprise.py",  # its library takes a sixth of a second, which few installations need
)

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class SourceFile:
    """A Python file. `path` is relative to the root of the project."""

    path: str
    lines: int
    tree: ast.Module

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree. Each figure needs them, and finding them takes most of its time."""
        return tuple(ast.walk(self.tree))

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def sources(packages: Sequence[str] = PACKAGES) -> list[SourceFile]:
    """Return the Python files of these packages."""
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    return [SourceFile(path, len(text.splitlines()), ast.parse(text)) for path, text in texts.items()]


def functions(source: SourceFile) -> Iterator[tuple[str, int]]:
    """Yield the place and the number of lines of each function of a file, nested functions included."""
    for node in source.nodes:
        if isinstance(node, FunctionNode):
            yield f"{source.path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def imports_in_functions(source: SourceFile) -> list[str]:
    """Return the places at which a function imports a module, by a statement or by a call of `import_module`."""
    nodes = (child for node in source.nodes if isinstance(node, FunctionNode) for child in ast.walk(node))
    lines = {node.lineno for node in nodes if isinstance(node, ast.stmt | ast.expr) and _imports(node)}
    return [f"{source.path}:{line}" for line in sorted(lines)]


def _imports(node: ast.stmt | ast.expr) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in {"import_module", "__import__"}
    return isinstance(node, ast.Import | ast.ImportFrom)


def duplicate_classes(files: Iterable[SourceFile]) -> list[str]:
    """Return the names that several classes have."""
    names = (node.name for source in files for node in source.nodes if isinstance(node, ast.ClassDef))
    return sorted(name for name, count in Counter(names).items() if count > 1)


def imports(source: SourceFile, modules: Mapping[str, SourceFile]) -> Iterator[str]:
    """Yield the modules of the project that a file imports when it is loaded."""
    for node in _at_load(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in modules else node.module for name in names)


def _at_load(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FunctionNode):
            yield child
            yield from _at_load(child)


def import_cycle(files: Iterable[SourceFile]) -> list[str]:
    """Return the modules of an import cycle. Empty: the imports have no cycle."""
    modules = {source.module: source for source in files}
    graph = {name: {*imports(source, modules)} & modules.keys() for name, source in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        return [str(module) for module in cycle.args[1]]
    return []


def percentile(sizes: Iterable[int], share: float) -> int:
    """Return the size that this share of the sizes does not exceed."""
    ordered = sorted(sizes)
    return ordered[math.ceil(share * len(ordered)) - 1]


def report(files: Sequence[SourceFile]) -> Iterator[str]:
    """Yield the figures, one per line."""
    sizes = {source.path: source.lines for source in files}
    lengths = {place: lines for source in files for place, lines in functions(source)}
    for name, counts in (("files", sizes), ("functions", lengths)):
        largest = max(counts, key=counts.__getitem__)
        figures = f"p95 {percentile(counts.values(), 0.95)} lines, max {counts[largest]} ({largest})"
        yield f"{name:22} {len(counts)}, {figures}"
    yield f"{'import cycle':22} {' -> '.join(import_cycle(files)) or 'none'}"
    places = [place for source in files for place in imports_in_functions(source)]
    yield f"{'imports in functions':22} {', '.join(places) or 'none'}"
    yield f"{'duplicate class names':22} {', '.join(duplicate_classes(files)) or 'none'}"


if __name__ == "__main__":
    for title, packages in (("the program", PROGRAM), ("with deploy and tests", PACKAGES)):
        print(title)
        for figure in report(sources(packages)):
            print(f"  {figure}")
