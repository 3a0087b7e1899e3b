"""The cost of the size of a team: a lead for a pool of 1,000 reps against one for a pool of 150, in turn."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from firsthour.bench.fixtures import furnish
from firsthour.bench.lead_disk import sizes_of
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.paging import LADDER, ROUNDS, WARM_SECONDS, PagedProgram, SlackPages
from firsthour.bench.pipeline import FILE
from firsthour.bench.server_process import server_process
from firsthour.bench.slack_process import api_url, slack_process

SMALL: Final = 150
LARGE: Final = 1_000
RATE: Final = 20.0
SECONDS: Final = 10.0
GOAL: Final = 1.1


def team_size(home: Path, *, seconds: float = SECONDS) -> list[BenchLine]:
    """Return CPU and bytes of a lead for the large pool, as multiples of those for the small one."""
    with ExitStack() as stack:
        slack = stack.enter_context(slack_process())
        pages, programs, files = SlackPages(slack), [], []
        for pool in (SMALL, LARGE):
            directory = furnish(home / str(pool), ladder=LADDER, reps=pool)
            process = stack.enter_context(server_process(directory, slack_url=api_url(slack)))
            programs.append(PagedProgram(process.port, partial(process.ask, "cpu")))
            files.append(directory / FILE)
        for program in programs:
            pages.offer(program, RATE, WARM_SECONDS, measured=False)
        before = [sizes_of(file)[""] for file in files]
        for _ in range(ROUNDS):
            for program in programs:
                pages.offer(program, RATE, seconds)
        small, large = (sizes_of(file)[""] - was for file, was in zip(files, before, strict=True))
    cpu = [many / few for few, many in zip(programs[0].cpu_ms, programs[1].cpu_ms, strict=True)]
    name = f"of a lead at {RATE:.0f}/s, pool of {LARGE:,}, of a pool of {SMALL}"
    return [
        line(f"CPU {name}", cpu, "times", goal=GOAL),
        line(f"disk {name}", [large / small], "times", goal=GOAL),
    ]
