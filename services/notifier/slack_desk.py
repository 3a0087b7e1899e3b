"""The requests of people in Slack: clicks on a page, dialogs and commands, each answered within Slack's three seconds."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import structlog

from firsthour.runtime.http.problem import RETRY_SECONDS, Problem
from firsthour.runtime.processing.service import Resources
from schemas.events.actions import ActionRequested
from schemas.team import Rep
from services.notifier.channels.slack_blocks import dialog, notice
from services.notifier.channels.slack_web import TEXT_CHARS_MAX, SlackAnswers, SlackWeb
from services.notifier.clicks import apply_click, apply_command, load_asking
from services.notifier.context import NotifierContext
from services.notifier.domain.click import (
    NO_REASON,
    NOTHING,
    UNKNOWN_LEAD,
    Click,
    ClickAnswer,
    next_owners,
    no_colleague,
    not_free,
    reject_reasons,
)
from services.notifier.domain.loss_text import spoken
from services.notifier.domain.outside_text import slack
from services.notifier.domain.slack_commands import (
    LEADS_MAX,
    UnknownTimeError,
    availability,
    end_of_absence,
    leads_text,
)
from services.notifier.domain.slack_request import (
    ASKING,
    Interaction,
    Pressed,
    SlashCommand,
    Submitted,
    UnreadableRequestError,
    asker_of,
    click_of,
    read_command,
    read_interaction,
    rep_of,
)
from services.notifier.store.clicks import ClickedPage, clicked_page
from services.notifier.store.clocks import clocks_of_rep

ANSWER_SECONDS: Final = 2.5
"""Slack shows an error after 3 s. Work that takes longer goes on, and its result is told afterwards."""
COMMANDS: Final = ("away", "back", "leads")
TASKS_MAX: Final = 200
"""Requests at work, which pile up while the database hangs; and as many texts to people."""
EMPTY: Final = b""
_LATE: Final = "FirstHour is busy: please look at the message in a minute, and click again if nothing has changed."
_LATE_COMMAND: Final = "FirstHour is busy: please send the command again in a minute."
_FAILED: Final = (
    "FirstHour could not do this. Please look at the message in a minute, and click again if nothing has changed."
)
_UNREADABLE: Final = (
    f"FirstHour cannot read this click: Slack sent it in another form. {NOTHING} Open the lead by its link."
)
_FULL: Final = "Too many requests of Slack wait for the database. Nothing was changed; send the request again later."
_UNKNOWN: Final = f"Your Slack account belongs to no rep: its member id is not in team.yaml. {NOTHING}"
_GONE: Final = f"This message is too old: its lead is no longer here. {NOTHING}"

_log = structlog.get_logger(__name__)


class Choices(NamedTuple):
    """The choices of a dialog, a sentence about them, and why there is none."""

    options: list[tuple[str, str]]
    remark: str
    none: str


class SlackDesk:
    """Applies the requests of people in Slack."""

    def __init__(
        self,
        resources: Resources,
        context: NotifierContext,
        slack: SlackAnswers,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._resources = resources
        self._context = context
        self._slack = slack
        self._tasks: set[asyncio.Task[bytes]] = set()  # the requests at work
        self._tellings: set[asyncio.Task[None]] = set()  # what people are told after the answer

    async def interaction(self, body: bytes) -> bytes:
        """Return the body of the answer to an interaction.

        Raises:
            UnreadableRequestError: The request cannot be read, and the person cannot be told of it.
            Problem: 503.
        """
        try:
            request = read_interaction(body)
        except UnreadableRequestError as error:
            return self._refuse_unreadable(body, error)
        if request is None:
            return EMPTY
        if isinstance(request, Submitted):
            return await self._in_time(self._answer(request), _shown(notice(_LATE)))
        return await self._in_time(self._answer(request), EMPTY, request.response_url)

    def _refuse_unreadable(self, body: bytes, error: UnreadableRequestError) -> bytes:
        asker = asker_of(body)
        if asker is None:
            raise error
        _log.warning("slack click unreadable", problem=str(error))
        if asker.in_dialog:
            return _shown(notice(_UNREADABLE))
        self._later(self._slack.tell(asker.response_url, _UNREADABLE))
        return EMPTY

    async def command(self, body: bytes) -> bytes:
        """Return the body of the answer to a slash command, which only the person sees. Raises as `interaction` does."""
        return await self._in_time(self._run(read_command(body)), _only_for_them(_LATE_COMMAND))

    async def _run(self, command: SlashCommand) -> bytes:
        config, now = self._resources.config.current, self._resources.clock.business()
        rep = rep_of(config.team, command.user)
        if rep is None:
            return _only_for_them(slack(_UNKNOWN, TEXT_CHARS_MAX))
        match command.name:
            case "away":
                return await self._away(command, rep, now)
            case "back":
                return await self._set(availability(command, rep, "back", None, now), rep, "You get leads again.")
            case "leads":
                get = partial(clocks_of_rep, rep=rep.id, limit=LEADS_MAX + 1)
                waiting, working = await self._resources.reads(get)
                return _only_for_them(leads_text(waiting, working, now))
            case _:
                return _only_for_them("This command is not known here: use /away, /back or /leads.")

    async def _away(self, command: SlashCommand, rep: Rep, now: datetime) -> bytes:
        calendars = self._resources.config.current.agreement.calendars
        calendar = calendars.get(rep.calendar or "")
        zone = ZoneInfo(calendar.timezone) if calendar else None
        try:
            until = end_of_absence(command.text, now, zone)
        except UnknownTimeError as error:
            return _only_for_them(slack(f"Not understood: {error}. {NOTHING}", TEXT_CHARS_MAX))
        end = f" until {until.astimezone(zone or UTC):%Y-%m-%d %H:%M %Z}" if until else " until you write /back"
        text = f"You get no new leads{end}. Your open leads stay with you."
        return await self._set(availability(command, rep, "away", until, now), rep, text)

    async def _set(self, request: ActionRequested, rep: Rep, text: str) -> bytes:
        """Request a change of availability from the router. A replayed command has the same id, and counts once."""
        is_new = await self._resources.units.run(lambda unit: apply_command(unit, request, rep.id))
        return _only_for_them(text if is_new else f"This command was received before. {NOTHING}")

    async def _in_time(self, work: Coroutine[Any, Any, bytes], late: bytes, response_url: str = "") -> bytes:
        """Return the result of the work, or `late` if it takes too long. The work goes on.

        Args:
            response_url: where a failure is told if `late` was answered; empty: `late` has said what to do.

        Raises:
            Problem: 503 if too many requests wait. This one is not begun, and Slack tells the person that it failed.
        """
        if len(self._tasks) >= TASKS_MAX:
            work.close()
            raise Problem(503, "", _FULL, headers={"Retry-After": str(RETRY_SECONDS)})
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait({task}, timeout=self._answer_seconds)
        if done:
            return task.result()
        task.add_done_callback(partial(self._end_late, response_url))
        return late

    def _end_late(self, response_url: str, task: asyncio.Task[bytes]) -> None:
        """Log the failure of work that was answered before its end, and tell the person."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        _log.error("slack request failed", error_type=type(error).__name__)
        if response_url:
            self._later(self._slack.tell(response_url, _FAILED))

    async def _answer(self, request: Interaction) -> bytes:
        config, resources = self._resources.config.current, self._resources
        rep = rep_of(config.team, request.user)
        if rep is None:
            return await self._refuse(request, _UNKNOWN)
        page = await resources.reads(lambda connection: clicked_page(connection, request.page))
        if page is None:
            return await self._refuse(request, _GONE)
        if isinstance(request, Pressed) and request.action in ASKING:
            return await self._ask(request, page)
        click = click_of(request, rep, page.lead_id, page.epoch, resources.clock.business())
        return await self._apply(request, click, rep)

    async def _apply(self, request: Interaction, click: Click, rep: Rep) -> bytes:
        answer = await self._resources.units.run(lambda unit: apply_click(unit, self._context, click))
        _log.info("slack click", action=click.action, applied=answer.applied, rep=rep.id)
        if answer.applied:
            return await self._confirm(request, answer)
        return await self._refuse(request, answer.text)

    async def _confirm(self, request: Interaction, answer: ClickAnswer) -> bytes:
        if isinstance(request, Submitted):
            return EMPTY  # closes the dialog
        self._later(self._slack.tell(request.response_url, answer.text))
        return EMPTY

    async def _refuse(self, request: Interaction, why: str) -> bytes:
        """Tell the person why nothing was changed."""
        if isinstance(request, Submitted):
            return _shown(notice(why))
        self._later(self._slack.tell(request.response_url, why))
        return EMPTY

    async def _ask(self, request: Pressed, page: ClickedPage) -> bytes:
        choices = await self._choices(request, page)
        if not choices.options:
            return await self._refuse(request, f"{choices.none} {NOTHING}")
        view = dialog(request.action, request.page, choices.options, choices.remark)
        if not await self._slack.open_dialog(request.trigger_id, view):
            return await self._refuse(request, f"The dialog could not be opened; please click again. {NOTHING}")
        return EMPTY

    async def _choices(self, request: Pressed, page: ClickedPage) -> Choices:
        config, now = self._resources.config.current, self._resources.clock.business()
        load = partial(load_asking, context=self._context, config=config, lead_id=page.lead_id, now=now)
        clock, terms = await self._resources.reads(load)
        if request.action == "reject":
            reasons = reject_reasons(config.agreement.lifecycle, clock)
            return Choices([(reason, spoken(reason).capitalize()) for reason in reasons], "", NO_REASON)
        if clock is None:
            return Choices([], "", UNKNOWN_LEAD)
        reps = [(rep.id, rep.name) for rep in next_owners(terms, clock)]
        return Choices(reps, not_free(terms, clock), no_colleague(terms, clock))

    def _later(self, telling: Coroutine[Any, Any, bool]) -> None:
        """Tell a person something after the answer."""
        if len(self._tellings) >= TASKS_MAX:
            telling.close()
            _log.warning("slack answer dropped", waiting=len(self._tellings))
            return
        task = asyncio.create_task(_told(telling))
        self._tellings.add(task)
        task.add_done_callback(self._tellings.discard)


def desk_of(resources: Resources, context: NotifierContext) -> SlackDesk:
    """Return the desk of this process, which answers over the Slack of the settings."""
    settings = resources.settings
    token = settings.slack_bot_token.get_secret_value() if settings.slack_bot_token else ""
    return SlackDesk(resources, context, SlackWeb(token, settings.slack_api_url))


async def _told(telling: Coroutine[Any, Any, bool]) -> None:
    if not await telling:
        _log.warning("slack answer not accepted")


def _shown(view: dict[str, Any]) -> bytes:
    """Return the answer that replaces a dialog."""
    return msgspec.json.encode({"response_action": "update", "view": view})


def _only_for_them(text: str) -> bytes:
    """Return the answer to a command. `text` is escaped."""
    return msgspec.json.encode({"response_type": "ephemeral", "text": text})
