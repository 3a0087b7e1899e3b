"""The measurement of the funnel, on a small scale."""

from pathlib import Path

import pytest

from firsthour.bench import funnel


def test_views_and_costs_of_the_funnel_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BATCH": 2, "BATCHES": 1, "VIEWS": 2}.items():
        monkeypatch.setattr(funnel, name, value)
    lines = {line.name: line for line in funnel.funnel(tmp_path, leads=400)}
    first = lines["funnel, first view of a year"]
    assert first.note == "400 leads over 390 days"
    assert first.goal == 1.0
    assert all(line.value > 0 for line in lines.values())
    assert len(lines) == 8
