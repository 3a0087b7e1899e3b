"""What `make mutate` takes away is there: a mechanism that was rewritten must not quietly stay in place."""

import pytest

from tests.proof.mechanisms import REMOVALS, ROOT, Removal


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.what)
def test_every_mechanism_stands_where_it_is_taken_from_once(removal: Removal) -> None:
    assert (ROOT / removal.file).read_text().count(removal.old) == 1
    assert removal.new != removal.old
    assert all((ROOT / place).exists() for place in removal.tests)
