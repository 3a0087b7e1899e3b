"""The comparison of two outcomes finds a difference in any value."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.e2e.outcome import LeadOutcome, Part, ReportedLead

ANN = "ann@acme.example"
PART = Part("engagement", "Asked", 20.0, "2026-11-23T15:26:44Z", True)
LEAD = ReportedLead("Ann", 15.0, "D", (PART,), "sales", "growth", "2027-12-28T15:26:44Z")
OUTCOME = LeadOutcome({ANN: LEAD}, {ANN: 17.5}, Counter({("growth", "assigned"): 1}), Counter(assigned=1))


@pytest.mark.parametrize(
    "change",
    [
        lambda outcome: outcome.leads.update(bo=LEAD),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(fit=15.01)}),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(parts=(PART, PART))}),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(parts=(PART._replace(at="2026-11-23T15:26:45Z"),))}),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(parts=(PART._replace(counted=False),))}),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(pool="large")}),
        lambda outcome: outcome.leads.update({ANN: LEAD._replace(due=None)}),
        lambda outcome: outcome.points.update({ANN: 17.52}),
        lambda outcome: outcome.pools.update({("growth", "qualified"): 1}),
        lambda outcome: outcome.statuses.update(assigned=1),
    ],
)
def test_outcomes_that_differ_in_any_value_have_differences(change: Callable[[LeadOutcome], None]) -> None:
    other = deepcopy(OUTCOME)
    other.points[ANN] -= 0.01  # the points of a later request
    assert OUTCOME.differences(other) == []
    change(other)
    (difference,) = OUTCOME.differences(other)
    assert difference
