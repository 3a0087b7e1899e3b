"""Clocks and pages that raised an error: each is put off for a while, so that it holds up no other.

An error in the decision about one of them names it. An error of a whole unit does not: the next units then look at one each,
until the one that fails is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

PUT_OFF: Final = timedelta(minutes=1)
"""Real time after which it is tried again."""
REMEMBERED_MAX: Final = 1_000
"""The failing ones that are named and counted. All of them are put off, however many there are."""
LOGGED_MAX: Final = 20
"""Errors that are logged within `PUT_OFF`."""


@dataclass
class Failing:
    """The failing ones of one kind in this process, by id."""

    kind: str  # `clock` or `page`, for people
    _failed: dict[str, tuple[datetime, str]] = field(
        default_factory=dict
    )  # when (real time), and the type of the error
    _looked_at: tuple[str, ...] = ()  # by the unit that runs, or that ran last
    _alone: int = 0  # of the next units, those that look at one each
    _logged: list[datetime] = field(default_factory=list)  # when errors were logged last
    _found: list[str] = field(default_factory=list)  # that failed alone in a unit, and are to be put off

    def left_out(self, real: datetime) -> frozenset[str]:
        """Return those that failed a short while ago."""
        return frozenset(id for id, (at, _) in self._failed.items() if abs(real - at) < PUT_OFF)

    def record(self, id: str, error: Exception, real: datetime) -> bool:
        """Remember an error. At the limit the oldest one is forgotten. Return whether it is to be logged: it is new, and few are."""
        is_new = self._failed.pop(id, None) is None
        self._failed[id] = real, type(error).__name__
        if len(self._failed) > REMEMBERED_MAX:
            del self._failed[next(iter(self._failed))]
        self._logged = [at for at in self._logged if abs(real - at) < PUT_OFF]
        if is_new and len(self._logged) < LOGGED_MAX:
            self._logged.append(real)
            return True
        return False

    def succeeded(self, ids: set[str], real: datetime) -> None:
        """Forget earlier errors of these: they were handled at this moment, unless they have failed at it."""
        for id in self._failed.keys() & ids:
            if self._failed[id][0] != real:
                del self._failed[id]

    def at_once(self, limit: int) -> int:
        """Return how many the next unit may look at."""
        return 1 if self._alone > 0 else limit

    def looks_at(self, ids: Sequence[str]) -> None:
        """Note what this unit looks at."""
        self._looked_at = tuple(ids)
        self._alone = max(0, self._alone - 1)

    def unit_failed(self, error: Exception, real: datetime) -> None:
        """Note that the unit failed: by the one that it looked at alone, or by one of several."""
        looked_at, self._looked_at = self._looked_at, ()
        if len(looked_at) == 1:
            self.record(looked_at[0], error, real)
            self._found.append(looked_at[0])
        else:
            self._alone = max(self._alone, len(looked_at))

    def found(self) -> list[str]:
        """Return those that failed alone in a unit since the last call. The next unit puts them off."""
        found, self._found = self._found, []
        return found

    def lines(self) -> list[str]:
        """Return the warning about these, if there are any."""
        if not self._failed:
            return []
        id, (_, error) = next(iter(self._failed.items()))
        number = len(self._failed)
        more = " or more" if number >= REMEMBERED_MAX else ""
        count = f"{number}{more} {self.kind}s" if number > 1 else f"a {self.kind}"
        of = f"that of lead {id}" if self.kind == "clock" else id
        return [f"{count} cannot be handled, for example {of} ({error}); the log has the place in the code"]
