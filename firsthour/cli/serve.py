"""`firsthour serve`: some services over Apache Kafka and PostgreSQL."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from firsthour.bootstrap.process import Process
from firsthour.cli.channels import channels_of, hidden_inbox
from firsthour.cli.log_settings import configure_from
from firsthour.runtime import settings
from firsthour.runtime.clock import Clock
from firsthour.runtime.http.server import run
from firsthour.runtime.settings import Settings, SettingsError
from firsthour.runtime.terminal import ConfigDir, DataDir
from services.notifier.channels.base import Channel

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class ServiceName(StrEnum):
    """A service that a process can run."""

    GATEWAY = "gateway"
    SCORING = "scoring"
    ROUTER = "router"
    NOTIFIER = "notifier"
    REPORTING = "reporting"


@app.command("serve")
def serve(
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
    configure_from(known)
    wanted = tuple(dict.fromkeys(role.value for role in services))
    raise typer.Exit(run(Process(known, wanted, host, port, _channels).run))


def _channels(known: Settings, clock: Clock) -> Mapping[str, Channel]:
    return channels_of(known, clock, hidden_inbox())
