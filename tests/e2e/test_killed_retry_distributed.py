"""A bulk retry of 10,000 dead letters over Kafka and PostgreSQL, killed in the middle, loses nothing and repeats nothing."""

import asyncio
import hmac
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from devtools.kafka import KafkaCluster
from devtools.postgres import PostgresServer
from tests.e2e.distributed import DistributedProcesses, distributed
from tests.e2e.processes import ROOT, end, write_config
from tests.e2e.prove.processes import must
from tests.e2e.test_replay_distributed import AGREEMENT
from tests.shared import named

LETTERS: Final = 10_000
AT_ONCE: Final = 50
DATABASE: Final = named("retried")
SECRET: Final = b"a secret the chat and we share"
REPS: Final = [{"id": f"rep{n}", "name": f"Rep {n}", "email": f"rep{n}@s.example"} for n in range(3)]


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """An empty database for one test."""
    postgres.drop(DATABASE)
    yield postgres.create(DATABASE)
    postgres.drop(DATABASE)


def map_address(config: Path, email: str) -> None:
    """Write the source `chat`, whose address is at this expression."""
    verify = {"scheme": "hmac-sha256", "header": "X-Signature", "encoding": "hex", "secrets": [{"file": "chat.secret"}]}
    event = {"type": "form.submitted", "id": "uuid", "email": email, "data": {"form": "'newsletter'"}}
    (config / "sources.yaml").write_text(
        json.dumps({"sources": [{"id": "chat", "kind": "webhook", "verify": verify, "events": [event]}]})
    )
    (config / "chat.secret").write_bytes(SECRET)


async def deliver(url: str) -> None:
    """Deliver a webhook of each person."""
    async with httpx.AsyncClient(trust_env=False, timeout=60.0, base_url=url) as client:

        async def send(number: int) -> None:
            content: Mapping[str, Any] = {
                "uuid": str(number),
                "name": "none",
                "mail": f"p{number}@prospect{number}.example",
            }
            body = json.dumps(content).encode()
            signature = hmac.digest(SECRET, body, "sha256").hex()
            answer = await client.post("/hooks/chat", content=body, headers={"X-Signature": signature})
            assert (answer.status_code, answer.json()["kept"]) == (202, 1)

        for start in range(0, LETTERS, AT_ONCE):
            await asyncio.gather(*(send(start + n) for n in range(AT_ONCE)))


def retry(installation: DistributedProcesses, config: Path) -> "subprocess.Popen[str]":
    command = ["deadletters", "retry", "--source", "chat", "--all", "--json", "--config", str(config)]
    return subprocess.Popen(
        [sys.executable, "-m", "firsthour", *command],
        env={**installation.env, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


async def retried(installation: DistributedProcesses) -> int:
    [(number,)] = await installation.rows("SELECT count(*) FROM dead_letters WHERE state = 'retried'")
    return int(number)


async def kill_in_the_middle(installation: DistributedProcesses, config: Path) -> int:
    """Begin a retry, kill it after a tenth, and return the number of letters that were retried."""
    first = retry(installation, config)
    try:
        async with asyncio.timeout(120):
            while await retried(installation) < LETTERS / 10 and first.poll() is None:
                await asyncio.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        await asyncio.to_thread(first.communicate, timeout=30)
    finally:
        end(first)  # type: ignore[arg-type]  # its pipes are text
    return await retried(installation)


async def story(config: Path, directory: Path, database: str, kafka: str) -> None:
    async with distributed(directory, config, database, kafka) as installation:
        await deliver(installation.url)
        map_address(config, "mail")
        await asyncio.to_thread(must, installation.env, "apply", "--config", str(config))
        before = await kill_in_the_middle(installation, config)
        assert 0 < before < LETTERS

        second = retry(installation, config)
        output, problems = await asyncio.to_thread(second.communicate, timeout=400)
        assert second.returncode == 0, problems
        done = json.loads(output)
        assert (done["retried"], done["events"], done["failed"]) == (LETTERS - before, LETTERS - before, 0)
        assert await retried(installation) == LETTERS
        await installation.settle(400)
        [(events, leads)] = await installation.rows(
            "SELECT (SELECT count(*) FROM reporting_history WHERE topic = 'events'), (SELECT count(*) FROM router_leads)"
        )
        assert (events, leads) == (LETTERS, LETTERS)
        await installation.stop()


@pytest.mark.long
@pytest.mark.kill
@pytest.mark.timeout(1_200)
def test_killed_retry_of_many_letters_makes_each_lead_once(tmp_path: Path, database: str, kafka: KafkaCluster) -> None:
    agreement = AGREEMENT | {"routing": {"rules": [{"name": "Everyone", "pool": "growth"}]}}
    config = write_config(tmp_path / "config", agreement, REPS, {"growth": [rep["id"] for rep in REPS]})
    map_address(config, "name")
    asyncio.run(story(config, tmp_path / "several", database, kafka.bootstrap))
