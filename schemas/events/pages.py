"""The topic `pages`: deliveries of pages and outcomes of promises, by the notifier."""

from datetime import datetime
from typing import ClassVar

from schemas import topics
from schemas.events.base import Event


class PageSent(Event, frozen=True, kw_only=True, gc=False):
    """A channel accepted a page to one person. After a crash the page may be delivered twice, but never not at all."""

    TYPE: ClassVar[str] = "page.sent"
    TOPIC: ClassVar[str] = topics.PAGES

    page_id: str
    lead_id: str
    epoch: int
    rung: int
    person: str  # rep id
    channel: str
    at: datetime
    tries: int = 1
    kind: str = ""  # owner, manager, reminder ...; empty: written by an older release


class PageFailed(Event, frozen=True, kw_only=True, gc=False):
    """Every channel of the rung refused the person. Emitted once; the page is still retried."""

    TYPE: ClassVar[str] = "page.failed"
    TOPIC: ClassVar[str] = topics.PAGES

    page_id: str
    lead_id: str
    epoch: int
    rung: int
    person: str
    at: datetime
    why: str
    tried: tuple[str, ...] = ()


class PromiseKept(Event, frozen=True, kw_only=True, gc=False):
    """The lead was touched. `late`: the promise had already ended."""

    TYPE: ClassVar[str] = "promise.kept"
    TOPIC: ClassVar[str] = topics.PAGES

    lead_id: str
    at: datetime
    submit_at: datetime
    seconds: float  # from submit to touch, every second counted
    late: bool
    rep: str | None = None
    working_seconds: float | None = None  # counted as the promise was; None: written by an older release


class PromiseMissed(Event, frozen=True, kw_only=True, gc=False):
    """The response clock ended without a touch."""

    TYPE: ClassVar[str] = "promise.missed"
    TOPIC: ClassVar[str] = topics.PAGES

    lead_id: str
    epoch: int
    at: datetime
    submit_at: datetime
    promise_at: datetime
    rep: str | None = None
    seconds: float | None = None  # from submit to the end of the promise; None: written by an older release
    working_seconds: float | None = None  # counted as the promise was
