"""The checks of a profile that verify and doctor need."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from firsthour.operations.doctor import checks
from firsthour.operations.doctor.finding import Finding
from firsthour.operations.drain import TableEnds, TopicEnds
from firsthour.runtime.clock import Clock
from firsthour.runtime.processing.service import Resources
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.reader import Reader


class ProfileChecks(NamedTuple):
    """The checks of doctor, and the ends of topics up to which verify waits."""

    examine: Callable[[Settings, Clock, Reader | None], Awaitable[list[Finding]]]
    ends: Callable[[Resources], TopicEnds]


EMBEDDED_CHECKS: Final = ProfileChecks(checks.examine, TableEnds)
