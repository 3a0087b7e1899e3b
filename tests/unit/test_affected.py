"""`make quick` selects each test that a change can affect."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.proof import affected
from tests.proof.affected import ROOT, Tree, changes, hashes, module_imports, read_tree, run

SOURCES = {
    "firsthour/__init__.py": "",
    "firsthour/kernel/__init__.py": "",
    "firsthour/kernel/units.py": "",
    "firsthour/kernel/rules.py": "from firsthour.kernel import units",
    "firsthour/cli/__init__.py": "",
    "firsthour/cli/app.py": "import importlib\ndef load(name):\n    return importlib.import_module(name)",
    "firsthour/cli/doctor.py": "",
    "services/router/__init__.py": "",
    "services/router/queue.py": "def late():\n    import firsthour.kernel.rules",
    "tests/conftest.py": "import tests.backends",
    "tests/backends.py": "import services.router.queue",
    "tests/unit/router/conftest.py": "from tests.unit.router.harness import harness",
    "tests/unit/router/harness.py": "",
    "tests/unit/router/test_queue.py": "from services.router.queue import late",
    "tests/unit/router/test_texts.py": "",
    "tests/unit/kernel/test_rules.py": "from firsthour.kernel.rules import RULES",
    "tests/unit/cli/test_app.py": "from firsthour.cli.app import load",
    "tests/unit/test_documents.py": "",
    "tests/unit/cli/test_programs.py": "import subprocess",
    "tests/unit/cli/test_files.py": "from pathlib import Path\nNAMES = Path().rglob('*.py')",
    "tests/unit/cli/test_data.py": "from pathlib import Path\nNAMES = Path().glob('*.yaml')",
    "tests/story/test_day.py": "import tests.story.world",
    "tests/story/world.py": "from services.router import queue",
    "tests/story/test_pages.py": "PATH = '/console/now'",
    "tests/story/test_vendors.py": "import tests.vendor_cases",
    "tests/vendor_cases.py": "CASE = {'preset': 'stripe'}",
    "tests/e2e/test_kill.py": "import services.router.queue",
}
TREE = Tree({path: module_imports(text) for path, text in SOURCES.items()})
WHOLE = {"unit/test_documents.py", "unit/cli/test_programs.py", "unit/cli/test_files.py"}
ROUTER = {"unit/router/test_queue.py", "unit/router/test_texts.py"}
ALL = {path.removeprefix("tests/") for path in TREE.tests()}


def selected(*changed: str) -> set[str]:
    return {path.removeprefix("tests/") for path in affected.affected(TREE, changed)}


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("services/router/queue.py", {"unit/router/test_queue.py", "story/test_day.py"}),
        ("firsthour/kernel/units.py", {"unit/router/test_queue.py", "unit/kernel/test_rules.py", "story/test_day.py"}),
        (
            "firsthour/kernel/__init__.py",
            {"unit/router/test_queue.py", "unit/kernel/test_rules.py", "story/test_day.py"},
        ),
        ("firsthour/cli/doctor.py", {"unit/cli/test_app.py"}),
        ("tests/unit/router/test_texts.py", {"unit/router/test_texts.py"}),
        ("tests/unit/router/harness.py", ROUTER),
        ("tests/unit/router/conftest.py", ROUTER),
        ("tests/story/world.py", {"story/test_day.py"}),
        ("tests/backends.py", set()),
        ("README.md", set()),
        ("tests/conftest.py", ALL),
        ("firsthour/runtime/config/preset_files/hubspot.yaml", {"story/test_vendors.py"}),
        ("services/console/templates/now.html", {"story/test_pages.py"}),
        ("services/notifier/templates/page.html", ALL),
        ("tests/unit/gateway/vendor_bodies/stripe.json", ALL),
        ("requirements/run.txt", ALL),
        ("pyproject.toml", ALL),
    ],
)
def test_change_selects_the_tests_that_import_it_and_those_of_the_whole_tree(changed: str, tests: set[str]) -> None:
    assert selected(changed) == tests | WHOLE


def test_removed_module_selects_the_tests_that_still_import_it() -> None:
    tree = read_tree(ROOT, {"tests/unit/test_affected.py": ""}, ["tests/proof/affected.py"])
    assert affected.affected(tree, ["tests/proof/affected.py"]) == ["tests/unit/test_affected.py"]
    assert "tests/proof/affected.py" in tree.needs("tests/unit/test_affected.py")


def test_imports_of_a_file_are_kept_until_its_content_changes(tmp_path: Path) -> None:
    file = tmp_path / "tests/unit/test_day.py"
    file.parent.mkdir(parents=True)
    file.write_text("import schemas.value")
    before = {"tests/unit/test_day.py": "hash of the first"}
    affected.keep_imports(tmp_path, before, read_tree(tmp_path, before, []))
    file.write_text("import schemas.word")

    def names(now: dict[str, str]) -> list[str]:
        [found] = read_tree(tmp_path, now, []).modules.values()
        return sorted(found.names)

    assert names(before) == ["schemas.value"]
    assert names({"tests/unit/test_day.py": "hash of the second"}) == ["schemas.word"]


@pytest.fixture(scope="module")
def here() -> Tree:
    """The files of this tree."""
    return read_tree(ROOT, hashes(ROOT), [])


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("services/notifier/domain/message_text.py", "tests/story/test_page_content.py"),
        ("services/notifier/domain/message_text.py", "tests/unit/notifier/test_message_text.py"),
        ("services/gateway/domain/forms.py", "tests/unit/gateway/test_forms.py"),
        ("firsthour/cli/doctor.py", "tests/unit/cli/test_offline.py"),
        ("tests/unit/router/harness.py", "tests/unit/router/test_queue.py"),
        ("tests/story/sample_config.py", "tests/story/test_ownership.py"),
        ("README.md", "tests/story/test_vendor_without_preset.py"),
        ("deploy/examples/agreement.yaml", "tests/unit/kernel/test_business_time.py"),
    ],
)
def test_change_in_this_tree_selects_a_test_of_it(here: Tree, changed: str, test: str) -> None:
    assert (ROOT / changed).exists()
    assert test in affected.affected(here, [changed])


def test_change_of_one_service_leaves_out_the_unit_tests_of_another(here: Tree) -> None:
    tests = set(affected.affected(here, ["services/notifier/domain/message_text.py"]))
    assert not {"tests/unit/router/test_queue.py", "tests/unit/gateway/test_forms.py"} & tests


def test_files_of_the_last_run_without_a_failure_are_compared_by_content() -> None:
    green: dict[str, Any] = {"python": sys.version, "files": {"a.py": "1", "b.py": "1", "c.py": "1"}}
    assert changes({"a.py": "1", "b.py": "2", "d.py": "1"}, green) == {"b.py", "c.py", "d.py"}
    assert changes(green["files"], green) == set()
    assert changes(green["files"], green | {"python": "3.0"}) is None
    assert changes(green["files"], None) is None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A tree with one test that fails if the word in `value.py` is not `good`."""
    for path, text in {
        "schemas/__init__.py": "",
        "schemas/value.py": "WORD = 'good'\n",
        "tests/unit/a/test_value.py": "from schemas.value import WORD\ndef test_word():\n    assert WORD == 'good'\n",
        "tests/unit/a/test_other.py": "def test_nothing():\n    pass\n",
        "tests/story/test_day.py": "def test_day():\n    pass\n",
        "pytest.ini": "[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n",
        ".gitignore": ".pytest_cache/\n__pycache__/\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_failure_is_repeated_until_a_run_has_none(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # pytest starts five times faster

    def quick(*, partial: bool = False, everything: bool = False) -> tuple[int, str]:
        code = run(project, ["-q", "-p", "xdist.plugin"], everything=everything, partial=partial)
        return code, capfd.readouterr().out

    def write(word: str) -> None:
        (project / "schemas/value.py").write_text(f"WORD = '{word}'\n")

    code, output = quick()
    assert (code, "3 passed" in output) == (0, True), output
    assert "no file has changed" in quick()[1]
    write("wrong")
    for _ in range(2):
        code, output = quick()
        assert (code, "1 of 3 test files" in output, "1 failed" in output) == (1, True, True)
    write("good")
    assert "no file has changed" in quick()[1]
    write("good' or '")
    assert "1 passed" in quick(partial=True)[1]
    assert "1 of 3 test files" in quick()[1]
    assert "3 passed" in quick(everything=True)[1]
    assert json.loads((project / affected.GREEN).read_text())["files"].keys() >= {"schemas/value.py"}
