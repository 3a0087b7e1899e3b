"""Requests generated from `/openapi.json`, and a check of their answers.

The description is checked in both directions: a body that it allows is accepted, and each answer has a status, a media
type and a shape that it names.
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
    {
        "unknown-reason",
        "unknown-rep",
        "unknown-status",
        "unknown-source",
        "time-in-the-past",
        "invalid-cursor",
        "invalid-period",
        "unknown-calendar",
        "unknown-time-zone",
        "idempotency-key-reused",
    }
)
"""Problems of values that the schema allows: names of the agreement and the team, a time, a cursor, a key."""
EXACT_NUMBERS = "is an integer beyond 2^53"
"""The rule for every number of a body. The description says it in words: a free field has no schema of its own."""
OPEN_ENDED = frozenset({"/v1/stream"})
"""Their answers do not end; they have tests of their own."""
SLOW = ("/v1/verify", "/v1/doctor")
"""Operations that read the whole installation: requested once."""
PHONES = st.from_regex(r"\+49301[0-9]{6}", fullmatch=True)
EMAILS = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,10})?@[a-z]{2,20}\.(com|org|example)", fullmatch=True)

schemathesis.openapi.format("phone", PHONES)
schemathesis.openapi.format("email", EMAILS)


@dataclass(repr=False)
class ApiDescription:
    """The description of one installation. `leads`: ids of existing leads. `faults`: where an answer differs."""

    client: AsyncClient
    leads: Sequence[str]
    loop: asyncio.AbstractEventLoop
    spec: dict[str, Any]
    keys: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    answers: int = 0

    def __repr__(self) -> str:
        return "\n".join(f"{fault}\n    {answer}" for fault, answer in self.faults.items())

    async def check(self, role: str, mode: GenerationMode, examples: int) -> None:
        """Send requests to every operation, with the key of that role."""
        for result in schemathesis.openapi.from_dict(self.spec).get_all_operations():
            if isinstance(result, Err):
                self.faults["the description itself"] = str(result.err())
                continue
            operation = result.ok()
            if operation.path in OPEN_ENDED:
                continue
            count = 1 if operation.path in SLOW else examples
            with suppress(Unsatisfiable):  # every request is valid
                await asyncio.to_thread(self._requests(operation, role, mode, count))

    def _requests(self, operation: Any, role: str, mode: GenerationMode, examples: int) -> Callable[[], None]:
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(generation_mode=mode), number=st.integers(0, 3))
        def send(case: Any, number: int) -> None:
            if number < len(self.leads) and "lead" in (case.path_parameters or {}):
                case.path_parameters["lead"] = self.leads[number]
            if "form" in (case.path_parameters or {}):
                case.path_parameters["form"] = "demo-request"
            answer = asyncio.run_coroutine_threadsafe(self._send(case, role), self.loop).result(60)
            self._check_answer(operation, case, role, mode, answer)

        return send

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

    def _check_answer(self, operation: Any, case: Any, role: str, mode: GenerationMode, answer: Response) -> None:
        status, problem = answer.status_code, _problem(answer)
        text = f"{status} {problem} {answer.text[:200]} to {str(case.body)[:200]} {case.query} {case.headers}"
        label = f"{operation.label} as {role}"
        if status >= 500 and str(status) not in operation.definition.raw["responses"]:
            self.faults[f"{label}: {status}"] = text
        difference = self._difference(operation, answer)
        if difference is not None:
            self.faults[f"{label}: {difference}"] = text
        unsayable = problem in STATEFUL or EXACT_NUMBERS in answer.text
        accepted = mode is not GenerationMode.POSITIVE or status not in REFUSALS or unsayable
        if role == "admin" and not accepted:
            self.faults[f"{label}: a body that is described is refused: {problem} {_pointers(answer)}"] = text

    def _difference(self, operation: Any, answer: Response) -> str | None:
        """Return how an answer differs from the description; None if it does not."""
        responses = operation.definition.raw["responses"]
        response = responses.get(str(answer.status_code)) or (
            responses.get("default") if answer.status_code >= 400 else None
        )
        if response is None:
            return f"status {answer.status_code} is not described"
        media = answer.headers.get("content-type", "").partition(";")[0]
        contents = response.get("content", {})
        if contents and media not in contents:
            return f"{media} of {answer.status_code} is not described"
        shape = contents.get(media, {}).get("schema")
        if shape is None or not media.endswith("json"):
            return None
        schema = {**shape, "components": self.spec["components"]}
        error = next(iter(Draft202012Validator(schema).iter_errors(answer.json())), None)
        return None if error is None else f"{answer.status_code} has another shape: {error.message[:200]}"


def _text(part: Any) -> str | bytes:
    return part if isinstance(part, str | bytes) else json.dumps(part)


def _problem(answer: Response) -> str | None:
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return str(answer.json().get("type", "")).rpartition(":")[2]
    return None


def _pointers(answer: Response) -> list[str]:
    return sorted({fault["pointer"] for fault in answer.json().get("errors", ())})


async def describe(client: AsyncClient, leads: Sequence[str]) -> ApiDescription:
    """Return the description that this client reads, with a key of each role."""
    spec = (await client.get("/openapi.json")).json()
    description = ApiDescription(client, leads, asyncio.get_running_loop(), spec)
    for role in ROLES:
        answer = await client.post("/v1/keys", json={"role": role, "name": f"described {role}"})
        description.keys[role] = answer.json()["key"]
    description.keys["admin"] = ADMIN
    return description
