"""Runs the quick tests that the changes since the last run without a failure can affect, for `make quick`.

A test file is affected by the modules that it imports, directly or through others, and by the `conftest.py` files above it.
Where imports do not show it, the rules select more than needed:

- Files that are not Python affect all tests, except documents. Documents affect the tests of the whole tree.
- Templates, styles and texts of the console affect the tests that name the console, and presets those that name presets.
- Another release of Python affects all tests.
- A module of the program that imports by name may import each module of its package.
- A test that starts programs, imports by name, lists Python files or names a document is a test of the whole tree.
"""

import argparse
import ast
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
GREEN: Final = Path(".pytest_cache/green.json")
"""The files of the last run without a failure; removed by `make clean` and `pytest --cache-clear`."""
IMPORTS: Final = Path(".pytest_cache/imports.json")
"""The imports of each file that was read, by the hash of the file: reading a thousand files takes two seconds."""
PARTS: Final = ("tests/unit/", "tests/story/")
WHOLE_TREE: Final = "tests/unit/test_*.py"
FEW: Final = 40
"""Up to so many test files, starting workers takes longer than it saves."""
NO_TESTS: Final = 5  # exit code of pytest: all tests of the files were deselected by their marks
_PACKAGES: Final = ("schemas", "firsthour", "services", "devtools", "tests")
_BY_NAME: Final = {"import_module", "__import__"}
_LISTS: Final = {"rglob", "glob"}
_PROGRAMS: Final = {"subprocess", "multiprocessing"}
_NAMED: Final = {
    "services/console/templates/": "console",
    "services/console/static/": "console",
    "services/console/locales/": "console",
    "firsthour/runtime/config/preset_files/": "preset",
}
"""Directories of files that are not Python, with the word that is in each test that reads them or asks for what they make."""
_NOT_NEEDED: Final = {"tests/conftest.py": "tests/backends.py"}
"""Imports that do not count. `tests/backends.py` imports the whole program, and its fixtures are for tests on servers; a story
imports it by itself."""

Hashes = Mapping[str, str]
"""Files by path, relative to the root, with the hash of the content."""


@dataclass(frozen=True)
class ModuleImports:
    """What the source of one module says about the modules that it needs."""

    names: Set[str]  # every name that an import may mean: `a.b` and `a.b.c` for `from a.b import c`
    by_name: bool  # it imports modules whose names are computed
    whole_tree: bool  # as a test, it sees files that it does not import
    words: Sequence[str] = ()  # those of directories, if it names them


def module_imports(source: str) -> ModuleImports:
    """Return the imports of a module, also those in functions."""
    names: set[str] = set()
    by_name = lists = False
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            text = _text(node)
            names |= {text} if called in _BY_NAME and text else set()
            names |= {"subprocess"} if called.startswith("create_subprocess") else set()
            by_name = by_name or (called in _BY_NAME and not text)
            lists = lists or (called in _LISTS and _matches_python(text))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            lists = lists or _is_document(node.value)
    words = sorted({word for word in _NAMED.values() if word in source.lower()})
    return ModuleImports(names, by_name, by_name or lists or bool(names & _PROGRAMS), words)


def _text(call: ast.Call) -> str:
    """Return the first argument of a call. Empty: it is computed."""
    first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    return first if isinstance(first, str) else ""


def _matches_python(pattern: str) -> bool:
    return not pattern or PurePosixPath("x.py").match(pattern) or pattern.endswith("*")


@dataclass
class Tree:
    """The Python files, by path, and what each imports."""

    modules: Mapping[str, ModuleImports]
    _needs: dict[str, frozenset[str]] = field(default_factory=dict)

    def tests(self) -> list[str]:
        """Return the test files of `make quick`."""
        return [
            path for path in self.modules if path.startswith(PARTS) and PurePosixPath(path).name.startswith("test_")
        ]

    def sees_whole_tree(self, test: str) -> bool:
        """Return whether the result of this test can depend on any file."""
        return PurePosixPath(test).match(WHOLE_TREE) or any(
            self.modules[path].whole_tree for path in self.needs(test) if path.startswith(PARTS)
        )

    def names(self, test: str, words: Set[str]) -> bool:
        """Return whether a test, or another file of the tests that it needs, has one of these words."""
        needed = (path for path in self.needs(test) if path.startswith("tests/"))
        return any(not words.isdisjoint(self.modules[path].words) for path in needed)

    def needs(self, test: str) -> frozenset[str]:
        """Return the paths of all modules that a test file imports, directly or through others, and its own."""
        seen: set[str] = set()
        waiting = [test, *self._above(test)]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += self._direct(path)
        return frozenset(seen)

    def _above(self, test: str) -> Iterator[str]:
        for directory in PurePosixPath(test).parents:
            path = str(directory / "conftest.py")
            if path in self.modules:
                yield path

    def _direct(self, path: str) -> frozenset[str]:
        if path not in self._needs:
            names = {*self.modules[path].names, _module_of(path)}
            paths = {file for name in names for file in _files_of(name) if file in self.modules}
            if self.modules[path].by_name:
                paths |= {file for file in self.modules if PurePosixPath(file).parent == PurePosixPath(path).parent}
            self._needs[path] = frozenset(paths - {_NOT_NEEDED.get(path)})
        return self._needs[path]


def _module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _files_of(module: str) -> Iterator[str]:
    """Yield the paths that a module may have, and those of the packages above it, which are loaded first."""
    place = PurePosixPath(module.replace(".", "/"))
    yield f"{place}.py"
    for package in (place, *place.parents):
        yield str(package / "__init__.py")


def affected(tree: Tree, changed: Iterable[str]) -> list[str]:
    """Return the test files whose result can differ after a change of these files."""
    paths = [path for path in changed if not _is_document(path)]
    words = {path: word for path in paths for directory, word in _NAMED.items() if path.startswith(directory)}
    if any(path not in tree.modules and path not in words for path in paths):
        return tree.tests()
    named = set(words.values())
    return [
        test
        for test in tree.tests()
        if not tree.needs(test).isdisjoint(paths) or tree.names(test, named) or tree.sees_whole_tree(test)
    ]


def _is_document(path: str) -> bool:
    return path.endswith(".md")


# --- the files of this tree, and the last run --------------------------------------------------------------------


def hashes(root: Path) -> dict[str, str]:
    """Return the files below `root` that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
    paths = {path for path in listed if path and (root / path).is_file()}
    return {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in sorted(paths)}


def changes(now: Hashes, green: Mapping[str, Any] | None) -> set[str] | None:
    """Return the files that were changed, added or removed since the last run without a failure. None: no run is known."""
    if green is None or green["python"] != sys.version:
        return None
    before = green["files"]
    return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}


def read_tree(root: Path, now: Hashes, changed: Iterable[str]) -> Tree:
    """Return the Python files of this tree, and those that were removed, since others may still import them."""
    removed = {path for path in changed if path not in now}
    paths = [path for path in (*now, *removed) if path.endswith(".py") and path.split("/")[0] in _PACKAGES]
    known = _known_imports(root)
    nothing = module_imports("")
    return Tree(
        {
            path: nothing if path in removed else known.get(now[path]) or module_imports((root / path).read_text())
            for path in paths
        }
    )


def _known_imports(root: Path) -> dict[str, ModuleImports]:
    """Return the imports by the hash of a file. They are found anew after a change of this module or of Python."""
    file = root / IMPORTS
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("by") != _reader():
        return {}
    return {hash: ModuleImports(frozenset(names), *more) for hash, (names, *more) in kept["files"].items()}


def keep_imports(root: Path, now: Hashes, tree: Tree) -> None:
    """Note what each file imports, for the next run."""
    files = {
        now[path]: (sorted(found.names), found.by_name, found.whole_tree, found.words)
        for path, found in tree.modules.items()
        if path in now
    }
    file = root / IMPORTS
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"by": _reader(), "files": files}))


def _reader() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest() + sys.version


def run(root: Path, arguments: Sequence[str], *, everything: bool, partial: bool) -> int:
    """Run the affected tests, and note the files if no test failed. Return the exit code.

    Args:
        root: The directory of the tree.
        arguments: For pytest.
        everything: Run all tests.
        partial: The arguments leave out some affected tests, so a run without a failure says nothing about them.
    """
    now, file = hashes(root), root / GREEN
    green = json.loads(file.read_text()) if file.exists() else None
    changed = None if everything else changes(now, green)
    if changed is not None and not changed:
        print("no file has changed since the last run without a failure; `make quick ALL=1` runs all tests")
        return 0
    if changed is None:
        places = [part for part in PARTS if (root / part).exists()]
        print("all tests:", "as requested" if everything else "no run without a failure is known", flush=True)
    else:
        tree = read_tree(root, now, changed)
        keep_imports(root, now, tree)
        places = affected(tree, changed)
        print(f"{len(places)} of {len(tree.tests())} test files, {len(changed)} changed; ALL=1 runs all", flush=True)
    here = ["-n", "0"] if changed and len(places) <= FEW else []
    begun = time.perf_counter()
    code = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *here, *places], cwd=root, check=False
    ).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    print(f"tests took {time.perf_counter() - begun:.0f} s, and {processor:.0f} s of processor time", flush=True)
    if code in (0, NO_TESTS) and not partial:
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"python": sys.version, "files": now}))
    return 0 if code == NO_TESTS else code


def main() -> int:
    """Read the arguments of the command line: options, then `--`, then the arguments of pytest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="run all tests")
    parser.add_argument("--partial", action="store_true", help="the arguments of pytest leave out some tests")
    parser.add_argument("arguments", nargs="*")
    given = parser.parse_args()
    return run(ROOT, given.arguments, everything=given.all, partial=given.partial)


if __name__ == "__main__":
    sys.exit(main())
