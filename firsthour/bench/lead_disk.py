"""The disk of a lead through its whole life, table by table, on the embedded profile.

A life is: a webhook, its owner, the page in Slack, an accept, a touch and some page views. The bytes are those of whole
pages of the file, with their indexes and their unused parts.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from firsthour.bench import systems
from firsthour.bench.fixtures import KEY, furnish
from firsthour.bench.lines import BenchLine, line
from firsthour.bench.paging import LADDER, PagedProgram, SlackPages
from firsthour.bench.pipeline import FILE
from firsthour.bench.server_process import ServerProcess, server_process
from firsthour.bench.slack_process import api_url, slack_process
from firsthour.runtime.clock import HostClock
from firsthour.runtime.http.client import AsyncClient
from schemas.errors import FirstHourError

POOL: Final = 40
LEADS: Final = 300
WARM_LEADS: Final = 100
RATE: Final = 20.0
VIEWS: Final = 3
GOAL_KB: Final = 10.0
LEAST_SHOWN: Final = 0.005
"""The smallest share of the whole that a table has a line for."""
QUIET_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.3  # longer than the records of bulk topics gather
_LOG_END: Final = "SELECT max(id) FROM log"
_BYTES: Final = """
    SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name
"""


class UnreadLogError(FirstHourError):
    """Raised when the services do not read the log to its end in time."""


def disk(home: Path) -> list[BenchLine]:
    """Return the kilobytes of a lead, as a whole and by table."""
    furnish(home, ladder=LADDER, reps=POOL)
    with slack_process() as slack, server_process(home, slack_url=api_url(slack)) as process:
        lives = _Lives(home, SlackPages(slack), process)
        lives.live(WARM_LEADS)
        before = lives.sizes()
        lives.live(LEADS)
        grown = lives.sizes()
    grown.subtract(before)
    return lines_of(grown, LEADS)


def lines_of(grown: Counter[str], leads: int) -> list[BenchLine]:
    """Return the lines. `grown`: the bytes by table; those of the whole file have the empty name."""
    whole = grown.pop("")
    name = f"disk of a lead, pool of {POOL}"
    note = f"{leads} leads: form, page, accept, touch, {VIEWS} page views"
    lines = [line(name, [whole / leads / 1e3], "kB", goal=GOAL_KB, note=note)]
    shown = [(table, size) for table, size in grown.most_common() if size > LEAST_SHOWN * whole]
    return [*lines, *(line(f"{name}: {table}", [size / leads / 1e3], "kB") for table, size in shown)]


def sizes_of(file: Path) -> Counter[str]:
    """Return the bytes of each table with its indexes, and of the file (the empty name).

    The tables are left out if SQLite was compiled without `dbstat`.
    """
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        try:
            tables = Counter(dict(connection.execute(_BYTES).fetchall()))
        except sqlite3.OperationalError:
            tables = Counter()
    tables[""] = pages * size
    return tables


class _Lives:
    """Leads that come, are paged, accepted and touched, and view pages."""

    def __init__(self, home: Path, slack: SlackPages, process: ServerProcess) -> None:
        self._home, self._slack = home, slack
        self._program = PagedProgram(process.port, lambda: 0.0)
        self._views = 0

    def sizes(self) -> Counter[str]:
        return sizes_of(self._home / FILE)

    def live(self, leads: int) -> None:
        """Let this many leads live. Return when every service has read every record."""
        self._slack.offer(self._program, RATE, leads / RATE, measured=False)
        systems.run(self._act(leads))

    async def _act(self, leads: int) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with AsyncClient(base_url=f"http://127.0.0.1:{self._program.port}", headers=headers) as client:
            newest = (await client.get("/v1/leads", params={"limit": leads})).raise_for_status().json()["items"]
            for lead in newest:
                await _post(client, f"/v1/leads/{lead['id']}/accept", None)
                await _post(client, "/v1/events", self._page_views(lead["email"]))
                await _post(client, f"/v1/leads/{lead['id']}/touch", {"channel": "phone", "answered": True})
            await self._read_to_end()

    def _page_views(self, email: str) -> Sequence[dict[str, object]]:
        first, self._views = self._views, self._views + VIEWS
        paths = enumerate(("/pricing", "/docs/install", "/customers"), first)
        return [
            {"id": f"v{number}", "type": "page.viewed", "email": email, "data": {"path": path}}
            for number, path in paths
        ]

    async def _read_to_end(self) -> None:
        clock = HostClock()
        end, last = clock.monotonic() + QUIET_SECONDS, -1
        while (records := _unread(self._home / FILE)) or records != last:
            if clock.monotonic() > end:
                raise UnreadLogError(f"{records} records are unread after {QUIET_SECONDS:.0f} s")
            last = records
            await asyncio.sleep(LOOK_SECONDS)


def _unread(file: Path) -> int:
    """Return how many records some reader has yet to read."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        query = """SELECT count(*) FROM log JOIN cursors USING (topic, "partition") WHERE log.id > cursors.position"""
        return int(connection.execute(query).fetchone()[0])


async def _post(client: AsyncClient, path: str, body: Any) -> None:
    (await client.post(path, json=body)).raise_for_status()
