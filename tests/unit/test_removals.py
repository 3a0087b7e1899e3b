"""Each removal of `make mutate` matches the source, so that a rewritten mechanism is still removed."""

from pathlib import Path

import pytest

from tests.proof.mechanisms import COPIED, REMOVALS, ROOT, Removal, UnprovenError, run, run_each

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_text_of_every_mechanism_occurs_once_in_its_file(removal: Removal) -> None:
    assert (ROOT / removal.file).read_text().count(removal.old) == 1
    assert removal.new != removal.old
    assert removal.file.split("/")[0] in COPIED
    assert all((ROOT / place).exists() for place in removal.tests)


def test_every_package_is_copied() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert {"firsthour", "devtools"} <= packages <= {*COPIED, "tests"}


ONE = "def test_one():\n    "
PLACES = {"failed": "assert 1 == 2", "passed": "assert True", "exits": "__import__('os')._exit(1)"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{ONE}{PLACES['passed']}", "1 tests passed"),
        (f"import nothing_of_that_name\n{ONE}{PLACES['failed']}", "the run ended with 2"),
        ("", "the run ended with 5"),
        (f"{ONE}{PLACES['exits']}", "the run ended with 1"),
        (
            "import pytest\n@pytest.fixture\ndef broken():\n    assert False\ndef test_one(broken):\n    pass",
            "could not run",
        ),
        (f"{ONE}import time; time.sleep(60)", "did not end"),
        (f"import pytest\n@pytest.mark.timeout(1)\n{ONE}import time; time.sleep(60)", "could not run"),
    ],
    ids=["passes", "not collected", "no test", "crashes", "not set up", "no end", "timed out"],
)
def test_removal_is_unproven_unless_a_test_ran_and_failed(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    seconds_max = 2.0 if why == "did not end" else 60.0
    with pytest.raises(UnprovenError, match=why):
        run(tmp_path, ["test_it.py"], seconds_max)


def test_removal_is_noticed_by_the_first_test_that_failed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"{ONE}{PLACES['passed']}\ndef test_two():\n    {PLACES['failed']}\n")
    assert run(tmp_path, ["test_it.py"]) == "test_it.py::test_two"


def test_places_are_run_in_their_order_until_a_test_fails(tmp_path: Path) -> None:
    (tmp_path / "wide").mkdir()
    for name, text in (("a", "failed"), ("b", "passed"), ("c", "failed")):
        (tmp_path / "wide" / f"test_{name}.py").write_text(f"def test_{name}():\n    {PLACES[text]}\n")
    assert run_each(tmp_path, ["wide/test_b.py", "wide/test_c.py", "wide"]) == "wide.test_c.py::test_c".replace(
        ".", "/", 1
    )
