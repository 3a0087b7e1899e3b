"""Requests made up from `/openapi.json`, and whether their answers are as described.

The description is held against the service in both directions: a body that it allows is taken, and each answer has a
status, a media type and a shape that it names.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.result import Err

from firsthour.runtime.http.client import AsyncClient, Response
from tests.contract.systems import ADMIN

ROLES = ("ingest", "marketing", "sales", "manager", "admin")
REFUSALS = (400, 405, 406, 413, 415, 422)
STATEFUL = frozenset(
    {"unknown-reason", "unknown-rep", "unknown-source", "in-the-past", "unknown-cursor", "idempotency-key-used-before"}
)
"""Problems of a value that may be right elsewhere: names of the agreement and the team, a moment, a cursor, a key."""
SLOW = ("/v1/verify", "/v1/doctor")
"""Looks at the whole installation: asked once."""
PHONES = st.from_regex(r"\+49301[0-9]{6}", fullmatch=True)
EMAILS = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,10})?@[a-z]{2,20}\.(com|org|example)", fullmatch=True)

schemathesis.openapi.format("phone", PHONES)
schemathesis.openapi.format("email", EMAILS)


@dataclass(repr=False)
class Described:
    """One installation and what its description promises. `leads`: some that are there. `wrong`: what is not so."""

    client: AsyncClient
    leads: Sequence[str]
    loop: asyncio.AbstractEventLoop
    spec: dict[str, Any]
    keys: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    answers: int = 0

    def __repr__(self) -> str:
        return "\n".join(f"{what}\n    {said}" for what, said in self.wrong.items())

    async def hold(self, role: str, mode: GenerationMode, examples: int) -> None:
        """Ask every operation with that role's key."""
        for found in schemathesis.openapi.from_dict(self.spec).get_all_operations():
            if isinstance(found, Err):
                self.wrong["the description itself"] = str(found.err())
                continue
            operation = found.ok()
            several = 1 if operation.path in SLOW else examples
            with suppress(Unsatisfiable):  # it has nothing that could be wrong
                await asyncio.to_thread(self._asking(operation, role, mode, several))

    def _asking(self, operation: Any, role: str, mode: GenerationMode, examples: int) -> Callable[[], None]:
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode), number=st.integers(0, 3))
        def asks(case: Any, number: int) -> None:
            if number < len(self.leads) and "lead" in (case.path_parameters or {}):
                case.path_parameters["lead"] = self.leads[number]
            if "form" in (case.path_parameters or {}):
                case.path_parameters["form"] = "demo-request"
            answer = asyncio.run_coroutine_threadsafe(self._send(case, role), self.loop).result(60)
            self._judge(operation, case, role, mode, answer)

        return asks

    async def _send(self, case: Any, role: str) -> Response:
        sent = case.as_transport_kwargs(base_url="http://firsthour.test")
        headers = {name: str(value) for name, value in dict(sent.pop("headers", {})).items()}
        headers = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
        if self.answers % 2 and "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = f"key {self.answers}"
        body = {name: sent[name] for name in ("json", "data", "files", "content") if sent.get(name) is not None}
        if isinstance(body.get("data"), str | bytes):
            body["content"] = body.pop("data")
        if "files" in body:
            body["files"] = [(name, (None, _text(part[1]))) for name, part in body["files"]]
        headers["authorization"] = f"Bearer {self.keys[role]}"
        self.answers += 1
        return await self.client.request(
            sent["method"], sent["url"], params=sent.get("params"), headers=headers, **body
        )

    def _judge(self, operation: Any, case: Any, role: str, mode: GenerationMode, answer: Response) -> None:
        status, problem = answer.status_code, _problem(answer)
        said = f"{status} {problem} {answer.text[:200]} to {str(case.body)[:200]} {case.query} {case.headers}"
        label = f"{operation.label} as {role}"
        if status >= 500:
            self.wrong[f"{label}: {status}"] = said
        why = self._unlike(operation, answer)
        if why is not None:
            self.wrong[f"{label}: {why}"] = said
        taken = mode is not GenerationMode.POSITIVE or status not in REFUSALS or problem in STATEFUL
        if role == "admin" and not taken:
            self.wrong[f"{label}: a body that is described is refused: {problem} {_places(answer)}"] = said

    def _unlike(self, operation: Any, answer: Response) -> str | None:
        """How an answer differs from what is described; None when it does not."""
        described = operation.definition.raw["responses"]
        one = described.get(str(answer.status_code)) or (
            described.get("default") if answer.status_code >= 400 else None
        )
        if one is None:
            return f"status {answer.status_code} is not described"
        media = answer.headers.get("content-type", "").partition(";")[0]
        contents = one.get("content", {})
        if contents and media not in contents:
            return f"{media} of {answer.status_code} is not described"
        shape = contents.get(media, {}).get("schema")
        if shape is None or not media.endswith("json"):
            return None
        whole = {**shape, "components": self.spec["components"]}
        wrong = next(iter(Draft202012Validator(whole).iter_errors(answer.json())), None)
        return None if wrong is None else f"{answer.status_code} is of another shape: {wrong.message[:200]}"


def _text(part: Any) -> str | bytes:
    return part if isinstance(part, str | bytes) else json.dumps(part)


def _problem(answer: Response) -> str | None:
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return str(answer.json().get("type", "")).rpartition(":")[2]
    return None


def _places(answer: Response) -> list[str]:
    return sorted({one["pointer"] for one in answer.json().get("errors", ())})


async def described(client: AsyncClient, leads: Sequence[str]) -> Described:
    """Over this client, with a key of each role."""
    spec = (await client.get("/openapi.json")).json()
    found = Described(client, leads, asyncio.get_running_loop(), spec)
    for role in ROLES:
        made = await client.post("/v1/keys", json={"role": role, "name": f"described {role}"})
        found.keys[role] = made.json()["key"]
    found.keys["admin"] = ADMIN
    return found
