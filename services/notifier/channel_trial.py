"""Test pages: one marked page over each channel of a rep, and the result of each. They concern no lead and leave no row."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import APIRouter, Depends

from firsthour.kernel.config import Config
from firsthour.runtime.clock import Clock, new_id
from firsthour.runtime.http.auth import needs
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from schemas.agreement.response import CHANNELS
from schemas.events.routes import LeadCard
from schemas.team import Rep
from services.notifier.channel_warnings import REMEDIES
from services.notifier.channels.base import TIMEOUT_SECONDS, Channel, Outcome, Sent, TryAgain
from services.notifier.context import NotifierContext
from services.notifier.domain.message import Message
from services.notifier.domain.terms import Terms
from services.notifier.ways import Ways

TRIALS_MAX: Final = 3
WINDOW_SECONDS: Final = 60.0
"""A rep gets at most `TRIALS_MAX` tests in this time, from each process."""
REPS_NAMED_MAX: Final = 20

State = Literal["sent", "refused", "not set up"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TrialResult:
    """The result of a test page over one channel. `why`: of a page that was not sent, with the remedy."""

    channel: str
    state: State
    why: str | None = None


@dataclass
class TrialLimit:
    """The times of the last tests of each rep (monotonic). Only reps of the team file have any."""

    clock: Clock
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def wait(self, rep: str) -> int | None:
        """Return the seconds until the next test is possible. None: it is possible now, and is counted."""
        now, times = self.clock.monotonic(), self._times.setdefault(rep, deque(maxlen=TRIALS_MAX))
        if len(times) == TRIALS_MAX and now < times[0] + WINDOW_SECONDS:
            return max(1, ceil(times[0] + WINDOW_SECONDS - now))
        times.append(now)
        return None


def trial_router(resources: Resources, ways: Ways, context: NotifierContext) -> APIRouter:
    """Return the route of test pages."""
    api = APIRouter(tags=["team"])
    limit = TrialLimit(resources.clock)

    @api.post("/v1/reps/{rep}/page-test")
    async def page_test(rep: str, principal: Annotated[Principal, Depends(needs("sales"))]) -> dict[str, Any]:
        """Send a marked test page over each channel of a rep: for the rep, managers and admins. No lead is needed.

        `state` is `sent`, `refused` or `not set up`; `why` says why, with the remedy. A rep gets three tests per minute.
        """
        config = resources.config.current
        person = _person(config, rep, principal)
        seconds = limit.wait(rep)
        if seconds is not None:
            detail = f"{rep} has just been sent {TRIALS_MAX} test pages; try again in {seconds} s."
            raise Problem(429, "Too Many Requests", detail, headers={"Retry-After": str(seconds)})
        results = await try_channels(person, config, ways, context, resources.clock)
        _log.info("test pages sent", rep=rep, by=principal.id, results={one.channel: one.state for one in results})
        return {
            "rep": rep,
            "ok": any(one.state == "sent" for one in results) and all(one.state != "refused" for one in results),
            "items": [{"channel": one.channel, "state": one.state, "why": one.why} for one in results],
            "next": None,
        }

    return api


def _person(config: Config, rep: str, principal: Principal) -> Rep:
    """Return the rep. Raises `Problem` if there is none, or the principal may not act for them."""
    person = config.team.rep_by_id.get(rep)
    if person is None:
        ids = list(config.team.rep_by_id)
        more = f" and {len(ids) - REPS_NAMED_MAX} more" if len(ids) > REPS_NAMED_MAX else ""
        raise Problem(
            404, "Unknown rep", f"There is no rep {rep!r}; the team is: {', '.join(ids[:REPS_NAMED_MAX])}{more}."
        )
    if not principal.may_act_for(rep):
        raise Problem(403, "Forbidden", "Test pages of a rep may be sent by the rep, managers and admins.")
    if not person.active:
        raise Problem(409, "Set by team file", f"{rep} is not active in team.yaml and gets no pages; change it there.")
    return person


async def try_channels(
    person: Rep, config: Config, ways: Ways, context: NotifierContext, clock: Clock
) -> list[TrialResult]:
    """Send one test page over each channel at once. Return the results, in the order of the channels."""
    terms = context.terms_of(config)
    message = _message(person, terms, clock)
    await ways.prepared(config)
    names = [*CHANNELS, *config.agreement.channels]
    return list(await asyncio.gather(*(_try(name, message, person, terms, ways.get(name, config)) for name in names)))


async def _try(name: str, message: Message, person: Rep, terms: Terms, channel: Channel | None) -> TrialResult:
    if channel is None or name not in terms.channels:
        return TrialResult(name, "not set up", f"this installation has no {name}: {REMEDIES.get(name, 'set it up')}")
    if not terms.reaching(person.id, (name,)):
        return TrialResult(name, "not set up", f"{person.id} has no address for {name}; add `{name}` in team.yaml")
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS + 1.0):
            outcome: Outcome = await channel.send(message)
    except Exception as failure:  # noqa: BLE001  # as in the delivery, a channel that raises counts as a temporary failure
        _log.error("channel failed", channel=name, error_type=type(failure).__name__)
        outcome = TryAgain(None, f"{name}: {type(failure).__name__}")
    if isinstance(outcome, Sent):
        return TrialResult(name, "sent")
    temporary = "; a page would be tried again" if isinstance(outcome, TryAgain) else ""
    return TrialResult(name, "refused", f"{outcome.why}{temporary}")


def _message(person: Rep, terms: Terms, clock: Clock) -> Message:
    now = clock.business()
    return Message(
        page_id=new_id(),
        rung=0,
        kind="test",
        person_name=person.name,
        person_email=person.email,
        person_phone=person.phone or "",
        person_slack=person.slack,
        lead_id="",
        card=LeadCard(),
        urgency="",
        submit_at=now,
        promise_at=now,
        written_at=now,
        owner_name=person.name,
        lead_url=None,
        epoch=0,
        zone=terms.zone(person.id),
    )
