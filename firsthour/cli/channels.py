"""The channels over which an installation sends pages, as its settings name them."""

from firsthour.runtime.clock import Clock
from firsthour.runtime.settings import Settings
from services.notifier.channels.base import Channel
from services.notifier.channels.email import EmailChannel, server
from services.notifier.channels.inbox import InboxChannel
from services.notifier.channels.slack import SlackChannel
from services.notifier.domain.message import Message


def channels_of(settings: Settings, clock: Clock, inbox: Channel) -> dict[str, Channel]:
    """Return the channels that the settings hold an account for, and the inbox. Raises `MailSettingsError`."""
    channels: dict[str, Channel] = {}
    if settings.slack_bot_token is not None:
        channels["slack"] = SlackChannel(
            settings.slack_bot_token.get_secret_value(),
            settings.slack_api_url,
            clickable=settings.slack_obstacle() is None,
        )
    if settings.smtp_url is not None:
        mail = server(settings.smtp_url.get_secret_value())
        channels["email"] = EmailChannel(mail, settings.mail_from or "", clock.real)
    return {**channels, "inbox": inbox}


def hidden_inbox() -> InboxChannel:
    """Return an inbox that prints nothing: the row of each page is what people read."""
    return InboxChannel(_print_nothing)


def _print_nothing(message: Message) -> None:
    """The row of the page stays."""
