"""The command line: every command of `firsthour`, and `up`, which serves everything in one process."""

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
import typer

from firsthour.bench import run as bench
from firsthour.bootstrap import embedded
from firsthour.bootstrap.distributed import open_distributed
from firsthour.bootstrap.embedded import System
from firsthour.bootstrap.monitors import DATABASE_MONITOR
from firsthour.bootstrap.process import Process
from firsthour.bootstrap.readiness import startup_warnings
from firsthour.bootstrap.services import all_services
from firsthour.cli import apply, checks, dead_letters, error_report, keys, offline, running_server, spool
from firsthour.cli import config as cli_config
from firsthour.cli.live_feed import Feed
from firsthour.cli.running_server import Running, ServerLine
from firsthour.cli.startup_banner import KEY_FILE, Greeting, first_key, first_key_lives
from firsthour.demo import config as demo_config
from firsthour.demo import run as demo
from firsthour.runtime import settings
from firsthour.runtime.clock import Clock, HostClock
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import ConfigError, ConfigFiles
from firsthour.runtime.connectivity import connection_options, postgres
from firsthour.runtime.eventlog.kafka_producer import KafkaProducer
from firsthour.runtime.http.connection import Limits
from firsthour.runtime.http.errors import outcome_of
from firsthour.runtime.http.metrics_port import answering, listening
from firsthour.runtime.http.server import StopSignal, listen, port_of, run, serve
from firsthour.runtime.observability.logging import configure_logging
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.terminal import AsJson, ConfigDir, DataDir, complain, out, print_json, say
from firsthour.runtime.version import VERSION
from services.notifier.channels.base import Channel
from services.notifier.channels.email import EmailChannel, server
from services.notifier.channels.inbox import InboxChannel
from services.notifier.channels.slack import SlackChannel
from services.notifier.domain.message import Message

DEMO_SPEED: Final = 60.0
SPEED_MAX: Final = 10_000.0
_log = structlog.get_logger(__name__)


# --- the installation --------------------------------------------------------------------------------------------


def channels(known: Settings, clock: Clock, inbox: Channel) -> dict[str, Channel]:
    """The channels that this installation has an account for, and the inbox. Raises `MailSettingsError`."""
    found: dict[str, Channel] = {}
    if known.slack_bot_token is not None:
        found["slack"] = SlackChannel(known.slack_bot_token.get_secret_value(), known.slack_api_url)
    if known.smtp_url is not None:
        found["email"] = EmailChannel(server(known.smtp_url.get_secret_value()), known.mail_from or "", clock.real)
    return {**found, "inbox": inbox}


def _unseen(message: Message) -> None:
    """The page's own row is what people read."""


@contextlib.asynccontextmanager
async def connect(data: Path | None, *, create: bool = False, configured: bool = False) -> AsyncIterator[ServerLine]:
    """A line to the installation, for commands: to the process that serves it, else to its files."""
    known = settings.load(data_dir=data)
    ways = channels(known, HostClock(), InboxChannel(_unseen))
    services = all_services(ways, None)
    try:
        if known.distributed:
            async with _over_the_network(known, ways) as line:
                yield line
            return
        async with running_server.connect(
            known.data_dir, lambda: offline.opened(known, services, create=create, configured=configured)
        ) as line:
            yield line
    finally:
        for channel in ways.values():
            await channel.close()


@contextlib.asynccontextmanager
async def _over_the_network(known: Settings, ways: Mapping[str, Channel]) -> AsyncIterator[ServerLine]:
    """A line to an installation past one machine: to its database and its topics, whoever else works there."""
    await postgres.ready(known)
    system = await open_distributed(known, (), ways)
    try:
        await system.runners[DATABASE_MONITOR].step()
        async with offline.client_of(system.resources, system.services, live=True) as client:
            yield ServerLine(client)
    finally:
        await system.close()


def _log_to(known: Settings) -> None:
    """Log in the form and from the level of the settings; in words for a person at a terminal, unless told."""
    in_words = "log_format" not in known.model_fields_set and sys.stderr.isatty()
    configure_logging("console" if in_words else known.log_format, level=logging.getLevelName(known.log_level.upper()))


# --- up ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Up:
    """How everything is to be served. `shown`: what happens is told in the terminal."""

    settings: Settings
    host: str
    port: int
    speed: float
    shown: bool
    demo: bool

    async def run(self) -> int:
        """Serve until told to stop; the exit code."""
        stop = StopSignal()
        with stop.on_signals():
            config = ConfigFiles(self.settings.config_dir)
            if unusable := source_secrets.examine(config.current, settings.environ()).errors:
                raise ConfigError(unusable)
            with (
                contextlib.closing(listen(self.host, self.port)) as bound,
                listening(self.host, self.settings.metrics_port, bound) as metrics,
            ):
                lock, clock = embedded.open_clock(self.settings.data_dir, self.speed)
                feed = Feed(out())
                inbox = InboxChannel(feed.page if self.shown and not self.demo else _unseen)
                ways = {"inbox": inbox} if self.demo else channels(self.settings, clock, inbox)
                system = await embedded.open_system(self.settings, clock, config, ways, lock=lock)
                token = running_server.new_token()
                system.keys.local = token
                me = Running(os.getpid(), running_server.reachable(self.host, port_of(bound)), token)
                try:
                    async with _going(system, feed, stop, shown=self.shown and not self.demo):
                        serving = Serving(self, system, me, stop)
                        limits = Limits(connections_max=self.settings.connections_max)
                        async with answering(system.resources.telemetry, metrics):
                            await serve(system.app, bound, stop, serving.started, limits)
                        await serving.ended()
                finally:
                    running_server.withdraw(self.settings.data_dir, me)
                    await system.close()
                    for channel in ways.values():
                        await channel.close()
        _log.info("stopped", pid=me.pid)
        return 0


@contextlib.asynccontextmanager
async def _going(system: System, feed: Feed, stop: StopSignal, *, shown: bool) -> AsyncIterator[None]:
    """While inside, the system runs."""
    tasks = [asyncio.create_task(system.run())]
    if shown:
        table = system.units.appended

        def appended(rows: list[tuple[str, Any]]) -> None:
            table(rows)
            feed.heard(rows, system.resources)

        system.units.appended = appended
        tasks.append(asyncio.create_task(feed.run()))
    for task in tasks:
        task.add_done_callback(lambda _: stop.ask())
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end


class Serving:
    """What happens beside the answering of requests, once it began."""

    def __init__(self, up: Up, system: System, me: Running, stop: StopSignal) -> None:
        self._up, self._system, self._me, self._stop = up, system, me, stop
        self._demo: asyncio.Task[None] | None = None

    async def started(self) -> None:
        """Leave the address for commands, and greet."""
        running_server.announce(self._up.settings.data_dir, self._me)
        _log.info(
            "serving", host=self._up.host, port=int(self._me.url.rpartition(":")[2]), version=VERSION, pid=self._me.pid
        )
        if self._up.demo:
            self._demo = asyncio.create_task(self._play())
            return
        for line in (await self._greeting()).lines():
            say(line)
        config = self._system.resources.config.current
        for warning in startup_warnings(self._up.settings, config, self._system.runners):
            say(f"warning: {warning.text}", style="yellow")

    async def _greeting(self) -> Greeting:
        system, given = self._system, self._up.settings.admin_key is not None
        file = None if sys.stdout.isatty() else self._up.settings.data_dir / KEY_FILE  # other outputs are kept as logs
        key = None if given else await system.units.run(lambda unit: first_key(unit, file))
        if key is not None:
            await system.keys.refresh(system.reads)
        lives = await system.reads(first_key_lives)
        config = system.resources.config.current
        return Greeting(self._me.url, config, str(self._up.settings.data_dir), key, lives, given, file)

    async def _play(self) -> None:
        resources = self._system.resources
        try:
            await demo.run(
                url=self._me.url,
                key=self._me.token,
                clock=resources.clock,
                log=resources.log,
                team=resources.config.current.team,
                console=out(),
                speed=self._up.speed,
                stop=self._stop.asked,
                goes_on=sys.stdout.isatty(),
            )
        except BaseException:
            self._stop.ask()
            raise
        if self._stop.asked.is_set():
            return
        if sys.stdout.isatty():
            say("Ctrl-C stops.")
        else:  # nobody is there to look around
            say("The demo has stopped; its data is gone.")
            self._stop.ask()

    async def ended(self) -> None:
        """Requests are no longer answered. Raises what the demo ended with."""
        if self._demo is not None:
            await self._demo


def _places(config: Path | None, data: Path | None) -> Settings:
    """The settings; without a configuration of one's own, the examples are put where it would be."""
    known = settings.load(config_dir=config, data_dir=data)
    if config is None and not known.config_dir.exists():
        cli_config.write_examples(known.config_dir)
        say(f"There was no configuration: wrote the examples to {known.config_dir}/. Change them to your own.")
    return known


@contextlib.contextmanager
def _stage(config: Path | None, data: Path | None) -> Iterator[Settings]:
    """The settings of a demo: made-up data and people of its own, where none are given. They are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="firsthour-demo-", ignore_cleanup_errors=True) as place:
        made = config or demo_config.furnish(Path(place) / "config")
        yield settings.load(config_dir=made, data_dir=data or Path(place) / "data")


def _up(
    config: ConfigDir = None,
    data: DataDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    as_demo: Annotated[bool, typer.Option("--demo", help="Made-up visitors and reps, 60 times faster.")] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=1.0, max=SPEED_MAX, help="How many times faster the clock runs, for trying things out."),
    ] = None,
    feed: Annotated[
        bool | None,
        typer.Option(
            "--feed/--no-feed", help="Show leads and pages as they come. They name people. [default: in a terminal]"
        ),
    ] = None,
) -> None:
    """Serve everything in one process, on an embedded database.

    Without a configuration it starts from the examples. Ctrl-C and SIGTERM stop it in order.

    Example: firsthour up --config config --data data --port 8080
    """
    shown = sys.stdout.isatty() if feed is None else feed
    fast = speed or (DEMO_SPEED if as_demo else 1.0)
    with _stage(config, data) if as_demo else contextlib.nullcontext(_places(config, data)) as known:
        _log_to(known)
        code = run(Up(known, host, port, fast, shown, as_demo).run)
    raise typer.Exit(code)


# --- serve -------------------------------------------------------------------------------------------------------


class ServiceName(StrEnum):
    """A service that a process can run."""

    GATEWAY = "gateway"
    SCORING = "scoring"
    ROUTER = "router"
    NOTIFIER = "notifier"
    REPORTING = "reporting"


def _serve(
    services: Annotated[list[ServiceName], typer.Argument(help="One or several; gateway is the HTTP front of all.")],
    data: DataDir = None,
    config: ConfigDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
) -> None:
    """Serve some services over Apache Kafka and PostgreSQL, beside any number of other processes.

    Needs FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP, and waits for what they name. A gateway keeps its spool
    in --data. SIGTERM stops it in order, within 30 s. Exit code 1: it was of no use any more; start another.

    Example: firsthour serve scoring router --port 8081
    """
    known = settings.load(data_dir=data, config_dir=config)
    if not known.distributed:
        raise SettingsError(
            ("FIRSTHOUR_KAFKA_BOOTSTRAP, FIRSTHOUR_DATABASE_URL: are not set; `firsthour up` needs neither",)
        )
    _log_to(known)
    wanted = tuple(dict.fromkeys(role.value for role in services))
    raise typer.Exit(run(Process(known, wanted, host, port, _ways).run))


def _ways(known: Settings, clock: Clock) -> Mapping[str, Channel]:
    return channels(known, clock, InboxChannel(_unseen))


@contextlib.asynccontextmanager
async def _producing(known: Settings) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(connection_options.kafka_options(known), known.kafka_prefix, known.kafka_partitions)
    try:
        yield producer
    finally:
        await producer.close()


# --- the other commands ------------------------------------------------------------------------------------------


def _bench(
    full: Annotated[bool, typer.Option("--full", help="Also what takes longer.")] = False,
    only: Annotated[
        str | None, typer.Option(metavar="TEXT", help='What has this in its title, as "many leads".')
    ] = None,
    json: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write the figures as JSON; - prints them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a goal is missed.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Over Kafka and PostgreSQL: also say where the time goes.")
    ] = False,
) -> None:
    """Measure this machine against the goals, in about three minutes.

    With FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP it measures that profile, in a database and topics of its own.

    Example: firsthour bench --json figures.json
    """
    raise typer.Exit(
        bench.run(
            full=full,
            only=only,
            json=json,
            strict=strict,
            profile=profile,
        )
    )


def _version(as_json: AsJson = False) -> None:
    """Which FirstHour this is.

    Example: firsthour version
    """
    if as_json:
        print_json({"version": VERSION})
    else:
        say(VERSION)


def _version_and_end(asked: bool) -> None:
    if asked:
        say(f"firsthour {VERSION}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version_and_end, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Every lead from the web reaches a person within its first hour.

    Exit codes: 0 done, 1 "no" or findings, 2 bad input.
    """


def program() -> typer.Typer:
    """Every command."""
    app = typer.Typer(
        name="firsthour",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    app.command("up")(_up)
    app.command("serve")(_serve)
    apply.add(app)
    app.add_typer(spool.app(_producing), name="spool")
    cli_config.add_init(app)
    app.add_typer(cli_config.agreement(), name="agreement")
    app.add_typer(keys.app(connect), name="keys")
    app.add_typer(dead_letters.app(connect), name="deadletters")
    checks.add(app, connect)
    app.command("bench")(_bench)
    app.command("version")(_version)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end with its exit code."""
    configure_logging("console", level=logging.WARNING)  # to standard error: what is printed may be JSON
    try:
        program()(args=arguments, prog_name="firsthour")
    except Exception as error:
        code = outcome_of(error).exit_code
        if code is None:
            raise
        complain(error_report.message(error))
        sys.exit(code)
