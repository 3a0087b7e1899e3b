"""`firsthour up`: everything in one process, on an embedded database."""

import asyncio
import contextlib
import os
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
from firsthour.cli.startup_banner import KEY_FILE, Greeting, first_key, first_key_lives
from firsthour.demo import config as demo_config
from firsthour.demo import run as demo
from firsthour.runtime import settings
from firsthour.runtime.config import source_secrets
from firsthour.runtime.config.reading import ConfigError, ConfigFiles
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.metrics_port import answering, listening
from firsthour.runtime.http.server import StopSignal, listen, port_of, run, serve
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
        configure_from(known)
        code = run(Up(known, host, port, fast, shown, as_demo).run)
    raise typer.Exit(code)


def _places(config: Path | None, data: Path | None) -> Settings:
    """The settings; without a configuration of one's own, the examples are put where it would be."""
    known = settings.load(config_dir=config, data_dir=data)
    if config is None and not known.config_dir.exists():
        write_examples(known.config_dir)
        say(f"There was no configuration: wrote the examples to {known.config_dir}/. Change them to your own.")
    return known


@contextlib.contextmanager
def _stage(config: Path | None, data: Path | None) -> Iterator[Settings]:
    """The settings of a demo: made-up data and people of its own, where none are given. They are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="firsthour-demo-", ignore_cleanup_errors=True) as place:
        made = config or demo_config.furnish(Path(place) / "config")
        yield settings.load(config_dir=made, data_dir=data or Path(place) / "data")


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
                inbox = InboxChannel(feed.page) if self.shown and not self.demo else hidden_inbox()
                ways = {"inbox": inbox} if self.demo else channels_of(self.settings, clock, inbox)
                system = await embedded.open_system(self.settings, clock, config, ways, lock=lock)
                token = running_server.new_token()
                system.keys.local_token = token
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
