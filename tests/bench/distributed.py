"""`make bench PROFILE=distributed`: brings up a Kafka and a PostgreSQL of its own, measures over them, and ends them.

What the settings name already (FIRSTHOUR_DATABASE_URL and FIRSTHOUR_KAFKA_BOOTSTRAP) is measured instead. PostgreSQL runs
with everything on that keeps what was committed: without it, no figure would mean anything.
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
    """`arguments` are the bench's, but for these two."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.distributed", add_help=False)
    parser.add_argument("--kafka-version", default=kafka.VERSION)
    parser.add_argument("--brokers", type=int, default=1)
    asked, rest = parser.parse_known_args(arguments)
    environment = dict(os.environ)
    with ExitStack() as stack:
        try:
            if not (environment.get(URL) and environment.get(BOOTSTRAP)):
                kafka.ensure(asked.kafka_version)
                postgres.ensure()
                cluster = stack.enter_context(kafka.start(version=asked.kafka_version, brokers=asked.brokers))
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
