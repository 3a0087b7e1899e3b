"""The client: posts the stream to both gateways until each event is acknowledged, and acts on leads through both at once.

Its log has a JSON line for every attempt, with the event, the time and the answer. It is an input of the judge.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import httpx

from tests.e2e.processes import ADMIN
from tests.e2e.prove.plan import ACTED_ON, Post, ProofPlan, address, flood

TIMEOUT_SECONDS: Final = 10.0
WAIT_SECONDS: Final = (0.1, 1.0)  # between attempts
IN_FLIGHT: Final = 48
PATIENCE_SECONDS: Final = 120.0
"""How long an event is retried: longer than any fault lasts."""
ACTIONS: Final = ("accept", "touch", "reject")


class Client:
    """A client of two gateways."""

    def __init__(self, plan: ProofPlan, gateways: Sequence[str], log: Path) -> None:
        self._plan = plan
        self._gateways = gateways
        self._log_file = log
        self._log: TextIO | None = None
        self._idle: list[httpx.AsyncClient] = []
        self._tls = httpx.create_ssl_context()  # not used, and expensive to create for each client
        self._window = asyncio.Semaphore(IN_FLIGHT)

    async def run(self, posts: Sequence[Post]) -> None:
        """Send each event at its time, and return once all are answered."""
        began = time.monotonic()
        with self._log_file.open("a", encoding="utf-8", buffering=1) as self._log:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._act_on_some(began))
                group.create_task(self._flood(began))
                for post in posts:
                    await asyncio.sleep(began + post.at - time.monotonic())
                    await self._window.acquire()
                    group.create_task(self._deliver(post))
        for http in self._idle:
            await http.aclose()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpx.AsyncClient]:
        """Open a connection of its own for a request. The library's pool can give one idle connection to several requests, and
        those that do not get it queue again. Under load this took seconds, which the judge would blame on a gateway."""
        http = self._idle.pop() if self._idle else self._new_connection()
        try:
            yield http
        finally:
            self._idle.append(http)

    def _new_connection(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {ADMIN}"}
        return httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False, verify=self._tls)

    async def _deliver(self, post: Post) -> None:
        try:
            about = {"kind": "event", "id": post.id, "type": post.type, "email": post.email}
            await self._insist("/v1/events", post.body, post.gateway, about, {})
        finally:
            self._window.release()

    async def _flood(self, began: float) -> None:
        """Post the anonymous forms without a key, each until it is answered."""
        async with asyncio.TaskGroup() as group:
            for spam in flood(self._plan):
                await asyncio.sleep(began + spam.at - time.monotonic())
                about = {"kind": "event", "id": spam.id, "type": "form.submitted", "email": spam.email}
                anonymous = {"authorization": ""}
                group.create_task(self._insist("/v1/forms/demo-request", spam.body, spam.gateway, about, anonymous))

    async def _insist(
        self, path: str, body: dict[str, Any], gateway: int, about: dict[str, Any], headers: dict[str, str]
    ) -> None:
        """Send the event to the gateways in turn, until one gives a final answer."""
        end, wait = time.monotonic() + PATIENCE_SECONDS, WAIT_SECONDS[0]
        while time.monotonic() < end:
            status = await self._attempt(path, body, gateway, about, headers)
            if status is not None and status < 500 and status not in (408, 425, 429):
                return
            gateway = 1 - gateway
            await asyncio.sleep(wait)
            wait = min(wait * 2, WAIT_SECONDS[1])

    async def _attempt(
        self, path: str, body: dict[str, Any], gateway: int, about: dict[str, Any], headers: dict[str, str]
    ) -> int | None:
        status: int | None = None
        error = ""
        async with self._connection() as http:
            sent, began = time.time(), time.perf_counter()
            try:
                answer = await http.post(self._gateways[gateway] + path, json=body, headers=headers)
                status = answer.status_code
                error = answer.text[:300] if status >= 400 else ""
            except httpx.HTTPError as failure:
                error = type(failure).__name__
            seconds = time.perf_counter() - began
        line = {"sent": sent, "seconds": round(seconds, 4), "status": status, "error": error, "gateway": gateway}
        assert self._log is not None
        self._log.write(json.dumps({**about, **line}) + "\n")
        return status

    # --- actions of people ---------------------------------------------------------------------------------------------

    async def _act_on_some(self, began: float) -> None:
        """Act on some leads once they have an owner, through both gateways at the same moment."""
        chance = random.Random(f"{self._plan.seed} actions")
        leads = sorted(chance.sample(range(self._plan.leads), max(6, int(self._plan.leads * ACTED_ON))))
        async with asyncio.TaskGroup() as group:
            for number, lead in enumerate(leads):
                at = lead / self._plan.leads * self._plan.seconds * 0.9 + chance.uniform(0.5, 3.0)
                await asyncio.sleep(began + at - time.monotonic())
                group.create_task(self._act(ACTIONS[number % len(ACTIONS)], address(lead), number))

    async def _act(self, action: str, email: str, number: int) -> None:
        lead = await self._owned(email, number % 2)
        if lead is None:
            return
        key = f"{action}-{number}"
        body = {}
        about = {"kind": "action", "action": action, "id": key, "email": email, "lead": lead}
        if action == "touch":
            about["at"] = datetime.now(UTC).isoformat()
            body = {"channel": "phone", "answered": True, "at": about["at"]}
        elif action == "reject":
            body = {"reason": "no-time"}
        # Accept: two people at once. The other actions: one request, sent twice.
        keys = [f"{key}-a", f"{key}-b"] if action == "accept" else [key, key]
        path = f"/v1/leads/{lead}/{action}"
        await asyncio.gather(
            *(self._insist(path, body, gateway, about, {"idempotency-key": key}) for gateway, key in enumerate(keys))
        )

    async def _owned(self, email: str, gateway: int) -> str | None:
        """Return the lead of this address once it has an owner."""
        end = time.monotonic() + PATIENCE_SECONDS / 2
        while time.monotonic() < end:
            try:
                async with self._connection() as http:
                    answer = await http.get(f"{self._gateways[gateway]}/v1/leads", params={"email": email})
                items = answer.json()["items"] if answer.status_code == 200 else []
            except (httpx.HTTPError, ValueError):
                items = []
            if items and items[0]["owner"] is not None:
                return str(items[0]["id"])
            gateway = 1 - gateway
            await asyncio.sleep(WAIT_SECONDS[1])
        return None
