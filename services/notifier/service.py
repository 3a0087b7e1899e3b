"""The notifier, as data."""

from collections.abc import Mapping, Sequence
from functools import partial

from firsthour.runtime.processing.service import Resources, Runner, Service, Tick
from schemas.topics import ROUTES
from services.notifier.api import router
from services.notifier.channels.base import Channel
from services.notifier.delivery import Delivery
from services.notifier.handlers import fire_due, hear_routes
from services.notifier.sending import CLOCKS, NotifierContext


def service(channels: Mapping[str, Channel], public_url: str | None) -> Service:
    """Hears what the router decided, keeps the response clocks, and pages over `channels` (by the names that the
    agreement's `by:` uses). `public_url` is the base of the links in pages; None: no links."""
    desk = NotifierContext(tuple(channels), public_url)

    def runners(resources: Resources) -> Sequence[Runner]:
        return [Delivery(resources, channels, desk)]

    return Service(
        name="notifier",
        hears={ROUTES: partial(hear_routes, desk=desk)},
        ticks=(Tick(CLOCKS, partial(fire_due, desk=desk)),),
        api=router,
        runners=runners,
    )
