"""`make replay FILE=... PROFILE=distributed`: starts a Kafka, a PostgreSQL and two replicas of each service for a file."""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from devtools import children, jars, kafka, machine, postgres
from firsthour.operations.replay.rows import InputError, Source
from firsthour.runtime import package_files
from firsthour.runtime.http.errors import exit_code_of
from tests.e2e.distributed import distributed
from tests.e2e.processes import ADMIN


def main(arguments: Sequence[str]) -> int:
    """Run the replay and return its exit code. `arguments`: the file, then the options of the replay and these."""
    file, *options = arguments
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.replay", add_help=False, allow_abbrev=False)
    parser.add_argument("--kafka-version", default=kafka.VERSION)
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--config", type=Path, default=package_files.examples())
    asked, rest = parser.parse_known_args(options)
    try:
        Source(Path(file))  # before anything is started
    except InputError as error:
        print(error, file=sys.stderr)
        return exit_code_of(error)
    if variables := [name for name in (kafka.BOOTSTRAP, postgres.GIVEN) if os.environ.get(name)]:
        print(
            f"{', '.join(variables)}: names a server of others; unset it, or replay with --url into the installation there",
            file=sys.stderr,
        )
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))  # so that the servers are stopped
    with ExitStack() as stack:
        try:
            kafka.ensure(asked.kafka_version)
            postgres.ensure()
            cluster = stack.enter_context(kafka.start(version=asked.kafka_version, brokers=asked.brokers))
            server = stack.enter_context(postgres.start())
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="firsthour-replay-")))
            return asyncio.run(
                _replay(place, asked.config.resolve(), server.create("replay"), cluster.bootstrap, (file, *rest))
            )
        except (machine.MissingError, jars.FetchError, children.StartError, AssertionError) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130


async def _replay(place: Path, config: Path, database: str, bootstrap: str, options: Sequence[str]) -> int:
    print("starting a gateway, and two of each service behind it ...", file=sys.stderr, flush=True)
    async with distributed(place / "processes", config, database, bootstrap) as installation:
        program = (sys.executable, "-m", "firsthour.operations.replay.command")
        process = await asyncio.create_subprocess_exec(*program, *options, "--url", installation.url, "--key", ADMIN)
        return await process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
