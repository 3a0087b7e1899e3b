"""`firsthour serve`: runs services over Apache Kafka and PostgreSQL."""

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
    services: Annotated[
        list[ServiceName], typer.Argument(help="One or more services; gateway serves the HTTP API of all.")
    ],
    data: DataDir = None,
    config: ConfigDir = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free port.")] = 8080,
) -> None:
    """Run services over Apache Kafka and PostgreSQL. Any number of processes may run the same services.

    The command needs FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP, and waits until both servers answer. A gateway keeps its
    spool in --data. SIGTERM stops the process gracefully, within 30 s. Exit code 1: the process could not continue; start
    it again.

    Example: firsthour serve scoring router --port 8081
    """
    process_settings = settings.load(data_dir=data, config_dir=config)
    if not process_settings.distributed:
        raise SettingsError(
            (
                "FIRSTHOUR_KAFKA_BOOTSTRAP, FIRSTHOUR_DATABASE_URL: are not set; set both, or use `firsthour up`, which needs neither",
            )
        )
    configure_from(process_settings)
    names = tuple(dict.fromkeys(service.value for service in services))
    raise typer.Exit(run(Process(process_settings, names, host, port, _channels).run))


def _channels(process_settings: Settings, clock: Clock) -> Mapping[str, Channel]:
    return channels_of(process_settings, clock, hidden_inbox())
