"""The rate limit of a channel to one person: a line of pages, each with the time at which it may be sent."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.notifier.domain.page import FAILOVER, Page

PACED = {"slack": timedelta(seconds=1)}
"""The least time between two pages to one person, for channels with a rate limit."""
MISSED = timedelta(minutes=1)
"""How long after its time a page keeps its place. A page that was cancelled never comes."""
LINES_KEPT_MAX = 1_000


@dataclass
class _Place:
    """The place of a page in a line. `at` in real time."""

    at: datetime
    page_id: str
    rank: int


@dataclass
class _Line:
    """The pages to one person over one channel, in the order of their times."""

    free_at: datetime
    places: list[_Place] = field(default_factory=list)


@dataclass
class Pace:
    """The times at which each person may be paged again over the channels of `PACED`.

    They are kept in memory. After a restart, only the limit of the provider itself (a `TryAgain` with its wait) applies.
    """

    _lines: dict[tuple[str, str], _Line] = field(default_factory=dict)

    def slot(self, page: Page, real: datetime, *, alone: bool) -> datetime | None:
        """Return when this page may be sent, and reserve that time. A page of rank `FIRST` comes before the others.

        None: the next channel would be tried before that time. `alone`: no other channel is usable now.
        """
        gap = PACED.get(page.channel)
        if gap is None:
            return real
        line = self._line(page, real)
        place = next((place for place in line.places if place.page_id == page.id), None)
        ahead = [one for one in line.places if one.rank > page.rank] if place is None else []
        at = place.at if place else ahead[0].at if ahead else max(real, line.free_at)
        if not alone and at > real and at >= (page.first_try_at or real) + FAILOVER:
            if place is not None:
                line.places.remove(place)
            return None
        if place is None:
            line.free_at = max(real, line.free_at) + gap
            place = self._inserted(line, ahead, page, at, gap)
        if at <= real:
            line.places.remove(place)
        return at

    def joined(self, page: Page, real: datetime) -> None:
        """Empty the line to this person: the message of this page takes everything that waits with it."""
        if page.channel in PACED:
            self._lines[page.channel, page.person] = _Line(real + PACED[page.channel])

    def _line(self, page: Page, real: datetime) -> _Line:
        if len(self._lines) > LINES_KEPT_MAX:
            self._lines = {key: line for key, line in self._lines.items() if line.free_at + MISSED > real}
        line = self._lines.setdefault((page.channel, page.person), _Line(real))
        line.places = [place for place in line.places if place.at + MISSED > real]
        return line

    def _inserted(self, line: _Line, ahead: list[_Place], page: Page, at: datetime, gap: timedelta) -> _Place:
        """Put the page into the line, and move every page of a later rank to the time of the next one."""
        place = _Place(at, page.id, page.rank)
        times = [one.at for one in ahead[1:]] + [line.free_at - gap]
        for one, later in zip(ahead, times, strict=False):
            one.at = later
        line.places = sorted([*line.places, place], key=lambda one: one.at)
        return place

    def set_back(self) -> None:
        """Forget all times: the host's clock was set back, so they lie too far ahead."""
        self._lines.clear()
