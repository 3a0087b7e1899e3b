"""The notifier as data."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from fastapi import APIRouter

from firsthour.runtime.processing.service import Resources, Runner, Service, Tick
from schemas.topics import ROUTES
from services.notifier.api import router
from services.notifier.channel_trial import trial_router
from services.notifier.channels.base import Channel
from services.notifier.channels.slack import SlackChannel
from services.notifier.context import CLOCKS, HOURS, NotifierContext, Unavailable
from services.notifier.delivery import Delivery
from services.notifier.dispatcher import Dispatcher
from services.notifier.handlers import count_anew, fire_due, hear_routes
from services.notifier.lead_api import lead_router
from services.notifier.lead_views import History
from services.notifier.slack_api import slack_router
from services.notifier.slack_desk import desk_of
from services.notifier.slack_socket import SlackSocket
from services.notifier.slack_updates import SlackUpdates
from services.notifier.store.alerts import forget_alerts
from services.notifier.store.clicks import forget_clicks
from services.notifier.store.dispatches import forget_dispatches
from services.notifier.store.slack_messages import forget_messages
from services.notifier.ways import Ways


def service(
    channels: Mapping[str, Channel],
    public_url: str | None,
    history: History,
    unavailable: Unavailable,
    *,
    ways_out: bool = True,
) -> Service:
    """Return the notifier: it reads the router's records, keeps the response clocks and sends pages.

    Args:
        channels: By the names that the agreement's `by:` uses.
        public_url: Base of the links in pages; None: no links.
        history: Returns the newest records of a lead.
        unavailable: Returns the reps who get no lead now.
        ways_out: The channels of the agreement are used as well. A demo sends nothing to services outside.
    """
    context = NotifierContext(tuple(channels), public_url, ways_out=ways_out, unavailable=unavailable)

    def api(resources: Resources) -> APIRouter:
        routes = router(resources)
        routes.include_router(lead_router(resources, context, history))
        routes.include_router(
            trial_router(resources, Ways(channels, resources.settings, resources.clock.real), context)
        )
        routes.include_router(slack_router(resources, context))
        return routes

    def runners(resources: Resources) -> Sequence[Runner]:
        ways, slack = Ways(channels, resources.settings, resources.clock.real), channels.get("slack")
        own = slack_runners(resources, slack, context) if isinstance(slack, SlackChannel) else ()
        return [Delivery(resources, ways, context), Dispatcher(resources, ways, context), *own]

    return Service(
        name="notifier",
        hears={ROUTES: partial(hear_routes, context=context)},
        ticks=(
            Tick(CLOCKS, partial(fire_due, context=context), failed=context.failing_clocks.unit_failed),
            Tick(HOURS, partial(count_anew, context=context)),
        ),
        sweeps=(forget_clicks, forget_dispatches, forget_alerts, forget_messages),
        api=api,
        runners=runners,
    )


def slack_runners(resources: Resources, slack: SlackChannel, context: NotifierContext) -> Iterator[Runner]:
    """Yield the runners of the Slack app."""
    yield SlackUpdates(resources, slack, context)
    token = resources.settings.slack_app_token
    if token is not None:
        desk = desk_of(resources, context)
        yield SlackSocket(desk, context, token.get_secret_value(), resources.settings.slack_api_url)
