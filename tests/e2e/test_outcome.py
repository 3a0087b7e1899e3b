"""Two installations that say different things of a stream are told apart, whatever it is that differs."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.e2e.outcome import LeadOutcome, Part, ReportedLead

ANN = "ann@acme.example"
PART = Part("engagement", "Asked", 20.0, "2026-11-23T15:26:44Z", True)
TOLD = ReportedLead("Ann", 15.0, "D", (PART,), "sales", "growth", "2027-12-28T15:26:44Z")
FOUND = LeadOutcome({ANN: TOLD}, {ANN: 17.5}, Counter({("growth", "assigned"): 1}), Counter(assigned=1))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.leads.update(bo=TOLD),
        lambda found: found.leads.update({ANN: TOLD._replace(fit=15.01)}),
        lambda found: found.leads.update({ANN: TOLD._replace(parts=(PART, PART))}),
        lambda found: found.leads.update({ANN: TOLD._replace(parts=(PART._replace(at="2026-11-23T15:26:45Z"),))}),
        lambda found: found.leads.update({ANN: TOLD._replace(parts=(PART._replace(counted=False),))}),
        lambda found: found.leads.update({ANN: TOLD._replace(pool="large")}),
        lambda found: found.leads.update({ANN: TOLD._replace(due=None)}),
        lambda found: found.points.update({ANN: 17.52}),
        lambda found: found.pools.update({("growth", "qualified"): 1}),
        lambda found: found.statuses.update(assigned=1),
    ],
)
def test_outcomes_that_differ_in_any_value_have_differences(change: Callable[[LeadOutcome], None]) -> None:
    other = deepcopy(FOUND)
    other.points[ANN] -= 0.01  # asked a moment later
    assert FOUND.differences(other) == []
    change(other)
    (said,) = FOUND.differences(other)
    assert said
