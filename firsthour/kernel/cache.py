"""A cache of values that are derived from a configuration, once per version: making them is slow."""

from collections.abc import Callable
from typing import TypeVar

from firsthour.kernel.config import Config

T = TypeVar("T")
VERSIONS_KEPT = 4  # a decision that is being made may still use an earlier one


def once_per_version(make: Callable[[Config], T]) -> Callable[[Config], T]:
    """Return `make` with a cache for the last few versions."""
    made: dict[str, T] = {}

    def get(config: Config) -> T:
        found = made.get(config.version)
        if found is None:
            found = made[config.version] = make(config)
            while len(made) > VERSIONS_KEPT:
                del made[next(iter(made))]
        return found

    return get
