"""`firsthour up`: all services in one process, on an embedded database."""

import asyncio
import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
import typer

from firsthour.bootstrap import embedded
from firsthour.bootstrap.embedded import System
from firsthour.bootstrap.readiness import startup_warnings
from firsthour.cli import running_server
from firsthour.cli.channels import channels_of, hidden_inbox
from firsthour.cli.init import write_examples
from firsthour.cli.live_feed import Feed
from firsthour.cli.log_settings import configure_from
from firsthour.cli.running_server import Running
from firsthour.cli.startup_banner import KEY_FILE, LINK_FILE, StartupBanner, first_key, first_key_is_valid, first_link
from firsthour.demo import config as demo_config
from firsthour.demo import run as demo
from firsthour.runtime import settings
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import ConfigError, ConfigFiles
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.metrics_port import answering, listening
from firsthour.runtime.http.server import StopSignal, listen, port_of, run, serve
from firsthour.runtime.private_files import write_private
from firsthour.runtime.settings import Settings
from firsthour.runtime.terminal import ConfigDir, DataDir, out, say
from firsthour.runtime.version import VERSION
from services.notifier.channels.inbox import InboxChannel

DEMO_SPEED: Final = 60.0
SPEED_MAX: Final = 10_000.0

_log = structlog.get_logger(__name__)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("up")
def up(
    config: ConfigDir = None,
    data: DataDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")] = 8080,
    as_demo: Annotated[
        bool, typer.Option("--demo", help="Simulate visitors and reps, 60 times faster than real time.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=1.0, max=SPEED_MAX, help="Speed of the clock, as a multiple of real time, for trials."),
    ] = None,
    feed: Annotated[
        bool | None,
        typer.Option(
            "--feed/--no-feed",
            help="Print leads and pages as they arrive, with names of people. [default: only in a terminal]",
        ),
    ] = None,
) -> None:
    """Run all services in one process, on an embedded database.

    If ./config does not exist and no directory is named, the example configuration is written there. Ctrl-C and SIGTERM
    stop the process gracefully.

    Example: firsthour up --config config --data data --port 8080
    """
    with_feed = sys.stdout.isatty() if feed is None else feed
    clock_speed = speed or (DEMO_SPEED if as_demo else 1.0)
    with (
        _demo_settings(config, data) if as_demo else contextlib.nullcontext(_settings(config, data)) as process_settings
    ):
        configure_from(process_settings)
        code = run(Up(process_settings, host, port, clock_speed, with_feed, as_demo).run)
    raise typer.Exit(code)


def _settings(config: Path | None, data: Path | None) -> Settings:
    """Return the settings. A missing configuration is replaced by the examples, unless `config` names it."""
    process_settings = settings.load(config_dir=config, data_dir=data)
    config_dir = process_settings.config_dir
    if config is None and not config_dir.exists():
        write_examples(config_dir)
        say(f"No configuration found: wrote the examples to {config_dir}/. Edit them for your teams.")
    return process_settings


@contextlib.contextmanager
def _demo_settings(config: Path | None, data: Path | None) -> Iterator[Settings]:
    """Yield the settings of a demo. Directories that are not named are temporary."""
    with tempfile.TemporaryDirectory(prefix="firsthour-demo-", ignore_cleanup_errors=True) as directory:
        config_dir = config or demo_config.furnish(Path(directory) / "config")
        yield settings.load(config_dir=config_dir, data_dir=data or Path(directory) / "data")


@dataclass(frozen=True)
class Up:
    """The arguments of `up`. `feed`: leads and pages are printed."""

    settings: Settings
    host: str
    port: int
    speed: float
    feed: bool
    demo: bool

    async def run(self) -> int:
        """Serve until a signal; return the exit code."""
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
                inbox = InboxChannel(feed.page) if self.feed and not self.demo else hidden_inbox()
                token = running_server.new_token()
                me = Running(os.getpid(), running_server.reachable(self.host, port_of(bound)), token)
                channels = {"inbox": inbox} if self.demo else channels_of(self.settings, clock, inbox)
                own_settings = with_address(self.settings, me.url)
                system = await embedded.open_system(
                    own_settings, clock, config, channels, lock=lock, ways_out=not self.demo
                )
                system.keys.local_token = token
                try:
                    async with _running(system, feed, stop, shown=self.feed and not self.demo):
                        serving = Serving(self, system, me, stop)
                        limits = Limits(connections_max=self.settings.connections_max)
                        async with answering(system.resources.telemetry, metrics):
                            await serve(system.app, bound, stop, serving.started, limits)
                        await serving.ended()
                finally:
                    running_server.withdraw(self.settings.data_dir, me)
                    (self.settings.data_dir / LINK_FILE).unlink(missing_ok=True)  # the next start makes another
                    await system.close()
                    for channel in channels.values():
                        await channel.close()
        _log.info("stopped", pid=me.pid)
        return 0


def with_address(process_settings: Settings, url: str) -> Settings:
    """Return the settings with this public URL, unless the environment sets one: links then lead to the port in use."""
    if "public_url" in process_settings.model_fields_set:
        return process_settings
    return process_settings.model_copy(update={"public_url": url})


@contextlib.asynccontextmanager
async def _running(system: System, feed: Feed, stop: StopSignal, *, shown: bool) -> AsyncIterator[None]:
    """Run the system for the time of the context. `shown`: with the feed."""
    tasks = [asyncio.create_task(system.run())]
    if shown:
        notify_readers = system.units.appended

        def appended(rows: list[tuple[str, Any]]) -> None:
            notify_readers(rows)
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
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


class Serving:
    """The work beside answering requests: the startup banner, and the demo."""

    def __init__(self, up: Up, system: System, me: Running, stop: StopSignal) -> None:
        self._up, self._system, self._me, self._stop = up, system, me, stop
        self._demo: asyncio.Task[None] | None = None

    async def started(self) -> None:
        """Write the address for commands, and print the banner or start the demo."""
        running_server.announce(self._up.settings.data_dir, self._me)
        _log.info(
            "serving", host=self._up.host, port=int(self._me.url.rpartition(":")[2]), version=VERSION, pid=self._me.pid
        )
        if self._up.demo:
            self._demo = asyncio.create_task(self._run_demo())
            return
        for line in (await self._banner()).lines():
            say(line)
        config = self._system.resources.config.current
        for warning in startup_warnings(self._up.settings, config, self._system.runners):
            say(f"warning: {warning.text}", style="yellow")

    async def _banner(self) -> StartupBanner:
        system, from_settings = self._system, self._up.settings.admin_key is not None
        # An output that is not a terminal may be stored as a log, so the key goes to a file.
        file = None if sys.stdout.isatty() else self._up.settings.data_dir / KEY_FILE
        key = None if from_settings else await system.units.run(lambda unit: first_key(unit, file))
        if key is not None:
            await system.keys.refresh(system.reads)
        console = await self._console_link()
        first_key_valid = await system.reads(first_key_is_valid)
        config = system.resources.config.current
        data = str(self._up.settings.data_dir)
        return StartupBanner(self._me.url, config, data, key, first_key_valid, from_settings, file, console)

    async def _console_link(self) -> str:
        """Return a one-time link to the console, or without a terminal the file that has it."""
        link = await self._system.units.run(lambda unit: first_link(unit, self._me.url))
        if sys.stdout.isatty():
            return link
        file = self._up.settings.data_dir / LINK_FILE
        write_private(file, f"{link}\n".encode())
        return f"cat {shlex.quote(str(file))}"

    async def _run_demo(self) -> None:
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
                console_link=await self._console_link(),
            )
        except BaseException:
            self._stop.ask()
            raise
        if self._stop.asked.is_set():
            return
        if sys.stdout.isatty():
            say("Ctrl-C stops FirstHour.")
        else:  # without a terminal, the data is of no use after the demo
            say("The demo has ended; its data is removed.")
            self._stop.ask()

    async def ended(self) -> None:
        """Wait for the demo after the server has stopped, and raise its error."""
        if self._demo is not None:
            await self._demo
