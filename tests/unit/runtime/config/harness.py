"""A configuration directory with the example files, in which a test makes a mistake."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from firsthour.kernel.config import Config
from firsthour.runtime.config.reading import ConfigError, load

EXAMPLES = Path(__file__).parents[4] / "deploy" / "examples"
MARK = "«"


@dataclass
class ConfigHarness:
    """A configuration directory. In a text of a test, `«` marks the position that FirstHour must report."""

    directory: Path

    def change(self, name: str, old: str, new: str) -> str | None:
        """Replace the only `old` by `new`. Return `file:line:column` of the mark; None: there is no mark."""
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {name}"
        return self.write(name, text.replace(old, new))

    def write(self, name: str, text: str) -> str | None:
        path = self.directory / name
        before, mark, after = text.partition(MARK)
        path.write_text(before + after, encoding="utf-8", newline="")
        if not mark:
            return None
        return f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"

    def load(self) -> Config:
        return load(self.directory)

    def complaints(self) -> list[str]:
        """Return the problems of the files, one line each."""
        try:
            self.load()
        except ConfigError as wrong:
            return [str(problem) for problem in wrong.problems]
        return []

    def assert_problem(self, name: str, old: str, new: str, message: str) -> None:
        """Replace the only `old` by `new`, and check that the problem at the mark has this message."""
        place = self.change(name, old, new)
        complaints = self.complaints()
        here = [line for line in complaints if line.startswith(f"{place}: ")]
        assert here, f"expected {place}, got:\n" + "\n".join(complaints)
        assert all("; " in line for line in complaints), "each has a remedy"
        assert message in here[0]


@pytest.fixture
def harness(tmp_path: Path) -> ConfigHarness:
    for path in EXAMPLES.glob("*.yaml"):
        shutil.copy(path, tmp_path / path.name)
    return ConfigHarness(tmp_path)
