"""`make bench PROFILE=distributed`: starts a Kafka and a PostgreSQL, measures over them, and stops them.

If FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP are set, it measures over these instead. PostgreSQL runs with every
setting that makes commits durable; without them the figures would be worthless.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from devtools import children, jars, kafka, machine, postgres

URL = "FIRSTHOUR_DATABASE_URL"
BOOTSTRAP = "FIRSTHOUR_KAFKA_BOOTSTRAP"


def main(arguments: Sequence[str]) -> int:
    """Run the bench with these arguments, except for the two of the servers, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.distributed", add_help=False)
    parser.add_argument("--kafka-version", default=kafka.VERSION)
    parser.add_argument("--brokers", type=int, default=1)
    options, rest = parser.parse_known_args(arguments)
    environment = dict(os.environ)
    with ExitStack() as stack:
        try:
            if not (environment.get(URL) and environment.get(BOOTSTRAP)):
                kafka.ensure(options.kafka_version)
                postgres.ensure()
                cluster = stack.enter_context(kafka.start(version=options.kafka_version, brokers=options.brokers))
                server = stack.enter_context(postgres.start())
                environment |= {URL: server.create("firsthour"), BOOTSTRAP: cluster.bootstrap}
        except (machine.MissingError, jars.FetchError, children.StartError) as missing:
            print(missing, file=sys.stderr)
            return 1
        return subprocess.run(
            [sys.executable, "-m", "firsthour", "bench", *rest], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
