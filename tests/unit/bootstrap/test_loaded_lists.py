"""Lists of libraries are loaded at the start: loading them later would stop every request."""

import subprocess
import sys
from typing import Final

FIRST_PAGE: Final = """
import sys
from firsthour.bootstrap.runners import load_lists
from services.notifier.domain.whereabouts import office_hours
load_lists()
loaded = set(sys.modules)
office_hours("Europe/Paris", "FR")
print(*(set(sys.modules) - loaded))
"""


def test_first_page_about_a_country_loads_no_holidays() -> None:
    command = [sys.executable, "-c", FIRST_PAGE]
    result = subprocess.run(command, capture_output=True, check=True, text=True)
    assert [name for name in result.stdout.split() if name.startswith("holidays")] == []
