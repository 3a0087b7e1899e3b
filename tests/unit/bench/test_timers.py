"""The measurement of timers, on a small scale."""

from datetime import timedelta
from pathlib import Path

import pytest

from firsthour.bench import timers


@pytest.mark.slow
def test_rungs_of_copied_clocks_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CLOCKS": 60, "DUE": 20, "LEAD": timedelta(0), "SECOND": timedelta(seconds=0.1)}.items():
        monkeypatch.setattr(timers, name, value)
    median, most, highest, sent, _ = timers.timers(tmp_path)
    assert median.note == "20 pages due within one second, 60 live clocks"
    assert 0 < median.value <= most.value <= highest.value
    assert median.value < sent.value


@pytest.mark.slow
def test_idle_is_measured_with_one_clock_and_with_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STORED": 300, "IDLE_SECONDS": 0.1, "WARM_SECONDS": 0.0}.items():
        monkeypatch.setattr(timers, name, value)
    one, many, ratio = timers.idle(tmp_path)
    assert many.name == "idle, 300 clocks stored, CPU"
    assert min(one.value, many.value, ratio.value) > 0
