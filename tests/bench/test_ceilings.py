"""Limits of costs that do not depend on the load of this machine, or stay far below their limit."""

import json
import subprocess
import sys

import pytest

from firsthour.bench import rules
from firsthour.bench.pipeline import PipelineBench, recorded_units

STATEMENTS_MAX = 30  # of one unit, with any number of events
CPU_FLOOR = (
    0.10  # of the CPU of the bare loop, which packs no record. `firsthour bench` has the goal, for an idle machine
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> PipelineBench:
    bench = PipelineBench(tmp_path_factory.mktemp("bench"), 3_000)
    bench.prepare()
    return bench


def test_fifty_conditions_stay_below_their_limits() -> None:
    """A process of its own, since a run that measures the branches traces this one."""
    program = "import json; from firsthour.bench import rules; print(json.dumps([one.spread for one in rules.rules()]))"
    child = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)  # our own program
    hot, traced = json.loads(child.stdout)
    assert hot[0] <= rules.HOT_GOAL_US
    assert traced[0] <= rules.TRACED_GOAL_US


def test_statements_of_a_unit_do_not_grow_with_its_events(
    work: PipelineBench,
) -> None:
    recorded = list(recorded_units(work.record))
    rows = [sum(len(sent[1]) if sent[2] else 1 for sent in unit) for unit in recorded]
    assert max(len(unit) for unit in recorded) <= STATEMENTS_MAX
    assert max(rows) > 10 * STATEMENTS_MAX  # otherwise few statements would prove nothing


def test_product_uses_a_bounded_multiple_of_the_cpu_of_the_bare_loop(work: PipelineBench) -> None:
    ratios = [work.bare(reads=True).cpu / work.real().cpu for _ in range(3)]
    assert max(ratios) >= CPU_FLOOR
