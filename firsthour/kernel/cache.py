"""A cache of values that are derived from a configuration once per version, because their computation is slow."""

from collections.abc import Callable
from typing import TypeVar

from firsthour.kernel.config import Config

T = TypeVar("T")
VERSIONS_MAX = 4  # a running decision may still use an earlier version


def once_per_version(make: Callable[[Config], T]) -> Callable[[Config], T]:
    """Return `make` with a cache for the last few versions."""
    cache: dict[str, T] = {}

    def get(config: Config) -> T:
        value = cache.get(config.version)
        if value is None:
            value = cache[config.version] = make(config)
            while len(cache) > VERSIONS_MAX:
                del cache[next(iter(cache))]
        return value

    return get
