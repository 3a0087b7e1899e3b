"""`kill -9` at random moments of a replay: nothing acknowledged is lost, no event takes effect twice, every lead is paged.

The full run, as many rows and kills as one likes: `make prove-embedded`, or `python -m tests.e2e.kill --seed N`.
"""

import random
from pathlib import Path

import pytest

from tests.e2e.kill import KillPlan, run, unexplained
from tests.e2e.processes import write_stream

ROWS = 600
KILLS = 3


@pytest.mark.kill
@pytest.mark.timeout(400)
def test_replay_with_random_kills_is_clean(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"again: python -m tests.e2e.kill --rows {ROWS} --kills {KILLS} --seed {seed}")
    report = run(KillPlan(write_stream(tmp_path / "stream.csv", ROWS), KILLS, seed, (0.2, 1.2)), tmp_path)
    print(report)
    assert report.broken == []


def test_each_kill_excuses_one_more_arrival() -> None:
    assert unexplained([1.0], []) == 0
    assert unexplained([1.0, 3.0], [2.0]) == 0
    assert unexplained([1.0, 3.0, 5.0], [2.0, 4.0]) == 0
    assert unexplained([1.0, 3.0], []) == 1
    assert unexplained([1.0, 3.0, 3.5], [2.0]) == 1
    assert unexplained([2.5, 3.0], [2.0]) == 1
