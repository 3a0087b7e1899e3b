"""What must not creep: costs that do not depend on how busy this machine is, or stay far below their ceiling."""

import pytest

from firsthour.bench import rules
from firsthour.bench.pipeline import PipelineBench, units

STATEMENTS_MAX = 30  # of one unit, however many events it takes
CPU_FLOOR = 0.12  # of the bare loop's CPU; the goal is for `firsthour bench`, on a machine that does nothing else


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> PipelineBench:
    made = PipelineBench(tmp_path_factory.mktemp("bench"), 3_000)
    made.prepare()
    return made


def test_fifty_conditions_stay_below_their_ceilings() -> None:
    hot, traced = rules.rules()
    assert hot.spread is not None
    assert traced.spread is not None
    assert hot.spread[0] <= rules.HOT_GOAL_US
    assert traced.spread[0] <= rules.TRACED_GOAL_US


def test_a_unit_takes_a_bounded_number_of_statements_however_many_events_it_holds(
    work: PipelineBench,
) -> None:
    recorded = list(units(work.record))
    rows = [sum(len(sent[1]) if sent[2] else 1 for sent in unit) for unit in recorded]
    assert max(len(unit) for unit in recorded) <= STATEMENTS_MAX
    assert max(rows) > 10 * STATEMENTS_MAX  # so it does depend on something that there are few statements


def test_the_product_is_not_many_times_the_bare_loop(work: PipelineBench) -> None:
    ratios = [work.bare(reads=True).cpu / work.real().cpu for _ in range(3)]
    assert max(ratios) >= CPU_FLOOR
