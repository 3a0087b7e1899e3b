"""The number of examples that a property test tries.

`EXAMPLES_SHARE` multiplies it: `make quick` tries a tenth.
"""

import os
from typing import Final

_FACTOR: Final = float(os.environ.get("EXAMPLES_SHARE") or 1)
_MIN: Final = 5
USUAL: Final = 100


def examples(count: int) -> int:
    """Return how many examples a test tries that usually tries `count`."""
    return max(_MIN, round(count * _FACTOR))
