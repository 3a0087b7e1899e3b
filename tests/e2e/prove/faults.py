"""The faults of a run, chosen by a seed, and their log, by which the judge excuses lateness and repeats."""

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devtools import kafka, postgres
from tests.e2e.prove.plan import ProofPlan
from tests.e2e.prove.processes import START_SECONDS, Crew, Replica, Sinks
from tests.fakes.slack import SlackFault

BROKER_STOPPED_SECONDS = 30.0
BROKER_PAUSED_SECONDS = 20.0  # one of three
ZOMBIE_SECONDS = 15.0  # longer than a consumer's session
LOADING_SECONDS = 5.0  # from the start of a process until it handles signals
GAP_SECONDS = 15.0  # between two single faults
CALM_SECONDS = 60.0  # after everything at once
SLACK_SECONDS = 15.0
HANGING_SECONDS = 30.0
SHORT_SECONDS = 8.0  # of every longer fault, in the short run
ROLLING = "rolling restart"


@dataclass(frozen=True)
class Hit:
    """A fault from `start` to `end` (seconds since the epoch)."""

    kind: str
    target: str
    start: float
    end: float


@dataclass
class FaultStage:
    """The parts of the installation that faults can hit."""

    plan: ProofPlan
    crew: Crew
    cluster: kafka.KafkaCluster
    database: postgres.PostgresServer
    sinks: Sinks
    log: Path
    chance: random.Random
    hits: list[Hit] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)  # ends of fault periods, after which all parts run undisturbed
    broken: list[str] = field(default_factory=list)

    def lasting(self, seconds: float) -> float:
        """Return the seconds of a fault, shortened in the short run."""
        return min(seconds, SHORT_SECONDS) if self.plan.short else seconds

    @asynccontextmanager
    async def hitting(self, kind: str, target: str) -> AsyncIterator[None]:
        """Log a fault from its start to its end."""
        start = time.time()
        try:
            yield
        finally:
            hit = Hit(kind, target, start, time.time())
            self.hits.append(hit)
            with self.log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(hit)) + "\n")


Strike = Callable[[FaultStage], Awaitable[None]]


# --- our processes ------------------------------------------------------------------------------------------------


async def kill(stage: FaultStage, member: Replica) -> None:
    """Kill a process with SIGKILL. The fault ends when the supervisor has restarted it."""
    killed = member.process
    async with stage.hitting("kill", member.name):
        stage.crew.kill(member)
        while member.process is killed:
            await asyncio.sleep(0.02)


async def kill_now_and_then(stage: FaultStage) -> None:
    """Kill one process after the other, until cancelled."""
    while True:
        await asyncio.sleep(stage.chance.uniform(*stage.plan.kill_every))
        await kill(stage, stage.chance.choice(stage.crew.up))


async def zombie_router(stage: FaultStage) -> None:
    """Stop a router for longer than its consumer session, and then let it continue."""
    member = stage.chance.choice(stage.crew.of("router"))
    async with stage.hitting("zombie", member.name):
        member.signal(signal.SIGSTOP)
        await asyncio.sleep(ZOMBIE_SECONDS)
        member.signal(signal.SIGCONT)


async def rolling_restart(stage: FaultStage) -> None:
    """Restart each process in turn: SIGTERM, end, start, ready."""
    for member in stage.crew.members:
        await _up(member)
        async with stage.hitting(ROLLING, member.name):
            loading = time.time() - member.started_at < LOADING_SECONDS  # it has no signal handler yet
            code = await stage.crew.stop(member)
            if code == -signal.SIGTERM and loading:
                code = 0
            if code != 0 and member.asked != "kill":
                stage.broken.append(f"{member.name}: ended with {code} after SIGTERM")
            stage.crew.resume(member)
            await _up(member)


async def _up(member: Replica) -> None:
    """Wait until the process is ready. If it is killed again meanwhile, the pages show the delay."""
    with suppress(AssertionError):
        await Crew([member]).all_ready(START_SECONDS / 3)


# --- broker and database ------------------------------------------------------------------------------------------


async def broker_stopped(stage: FaultStage) -> None:
    """Stop a broker by SIGSTOP for 30 s (one of three: 20 s): the port accepts connections without answers."""
    broker = stage.chance.choice(stage.cluster.brokers)
    seconds = stage.lasting(BROKER_STOPPED_SECONDS if len(stage.cluster.brokers) == 1 else BROKER_PAUSED_SECONDS)
    async with stage.hitting("broker stopped", f"broker {broker.id}, {seconds:g} s"):
        broker.pause()
        await asyncio.sleep(seconds)
        broker.resume()


async def broker_killed(stage: FaultStage) -> None:
    """Kill and restart each broker in turn."""
    for broker in stage.cluster.brokers:
        async with stage.hitting("broker killed", f"broker {broker.id}"):
            broker.kill()
            await asyncio.sleep(stage.chance.uniform(1.0, 4.0))
            await asyncio.to_thread(broker.start)
        await _recovered(stage)


async def brokers_restarted(stage: FaultStage) -> None:
    """Restart each broker in turn, with SIGTERM."""
    for broker in stage.cluster.brokers:
        async with stage.hitting("broker restarted", f"broker {broker.id}"):
            await asyncio.to_thread(broker.terminate)
            await asyncio.to_thread(broker.start)
        await _recovered(stage)


async def _recovered(stage: FaultStage) -> None:
    if len(stage.cluster.brokers) > 1:  # the next one may stop once this one has its replicas again
        await asyncio.sleep(10.0)


async def database_restarted(stage: FaultStage) -> None:
    """Restart the database in immediate mode: connections are cut, and no data is flushed."""
    async with stage.hitting("database restarted", ""):
        await asyncio.to_thread(stage.database.restart, "immediate")


# --- Slack --------------------------------------------------------------------------------------------------------


def slack(name: str, fault: SlackFault, seconds: float = SLACK_SECONDS) -> Strike:
    """Let the fake Slack fail in one way for some time."""

    async def strike(stage: FaultStage) -> None:
        async with stage.hitting(name, "slack"):
            await stage.sinks.set_fault(fault)
            await asyncio.sleep(stage.lasting(seconds) / (2.0 if stage.plan.short else 1.0))
            await stage.sinks.set_fault(None)

    return strike


slack_slows_down = slack("slack 429", SlackFault("answer", None, 429, {"Retry-After": "5"}, "{}"))
slack_fails = slack("slack 500", SlackFault("answer", None, 500, {}, "oops"))
slack_hangs = slack("slack hangs", SlackFault("hang", None), HANGING_SECONDS)
slack_drops = slack("slack drops", SlackFault("accept_then_drop", None))


# --- the schedule -------------------------------------------------------------------------------------------------


def strikes(plan: ProofPlan, *, single: bool) -> list[Strike]:
    """Return all faults except kills, without the smaller failures of Slack if each fault is examined alone."""
    if plan.short:
        return [database_restarted, broker_stopped, slack_drops, zombie_router]
    brokers = [brokers_restarted] if plan.brokers > 1 else []
    slack = [slack_hangs] if single else [slack_hangs, slack_slows_down, slack_fails, slack_drops]
    return [broker_stopped, broker_killed, *brokers, database_restarted, zombie_router, rolling_restart, *slack]


async def all_at_once(stage: FaultStage) -> None:
    """Apply the faults one after the other in random order, while processes are killed all the time."""
    killing = asyncio.create_task(kill_now_and_then(stage))
    try:
        order = strikes(stage.plan, single=False)
        stage.chance.shuffle(order)
        for strike in order:
            await asyncio.sleep(stage.chance.uniform(0.5, 4.0))
            await strike(stage)
    finally:
        killing.cancel()
        with suppress(asyncio.CancelledError):
            await killing


async def one_at_a_time(stage: FaultStage) -> None:
    """Apply each fault alone, and a kill of each service, with time to recover: no page may be late."""
    order = strikes(stage.plan, single=True)
    stage.chance.shuffle(order)
    for strike in order:
        await asyncio.sleep(GAP_SECONDS)
        await strike(stage)
    for service in ("scoring", "router", "notifier"):
        await asyncio.sleep(GAP_SECONDS)
        await kill(stage, stage.chance.choice(stage.crew.of(service)))


async def run(stage: FaultStage) -> None:
    """Apply the whole schedule of faults."""
    await asyncio.sleep(2.0)
    await all_at_once(stage)
    stage.calm.append(time.time())
    if not stage.plan.short:
        await asyncio.sleep(CALM_SECONDS)
        await one_at_a_time(stage)
        stage.calm.append(time.time())
