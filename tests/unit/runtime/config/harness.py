"""A directory with the three example files, in which a test breaks something."""

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
    """A configuration directory. In the text a test puts in, `«` stands before the place where FirstHour must point."""

    directory: Path

    def change(self, name: str, old: str, new: str) -> str | None:
        """Puts `new` for `old` (once there), and answers `file:line:column` of the mark, if there is one."""
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
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
        """What FirstHour says of the files, a line each."""
        try:
            self.load()
        except ConfigError as wrong:
            return [str(problem) for problem in wrong.problems]
        return []


@pytest.fixture
def harness(tmp_path: Path) -> ConfigHarness:
    for path in EXAMPLES.glob("*.yaml"):
        shutil.copy(path, tmp_path / path.name)
    return ConfigHarness(tmp_path)
