"""The requests of the demo to the running system."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from firsthour.demo.story import ObservedLead
from firsthour.runtime.http.client import AsyncClient, HTTPError, Response
from schemas.errors import FirstHourError
from schemas.team import Team


class DemoError(FirstHourError):
    """Raised when the running system rejects a request of the demo; the message contains its answer."""


@dataclass
class DemoClient:
    """Sends the requests of visitors and reps. `key`: an admin's. `stop`: set when the demo is over."""

    http: AsyncClient
    key: str
    stop: asyncio.Event
    keys: dict[str, str] = field(default_factory=dict)  # of reps, by id

    async def create_keys(self, team: Team) -> None:
        """Create a key for each rep, so that the history names them. Without one, the admin acts for the rep."""
        managers = {rep.manager for rep in team.reps}
        for rep in team.reps:
            role = "manager" if rep.id in managers else "sales"
            answer = await self._post("/v1/keys", self.key, {"role": role, "name": f"demo {rep.id}", "rep": rep.id})
            if answer.is_success:
                self.keys[rep.id] = answer.json()["key"]

    async def act(self, rep: str, lead: ObservedLead, action: str, body: dict[str, Any] | None = None) -> bool:
        """Send an action of a rep. Return whether it was applied: the lead may have changed owner meanwhile."""
        answer = await self._post(f"/v1/leads/{lead.id}/{action}", self.keys.get(rep, self.key), body)
        if answer.status_code in (401, 422) or answer.status_code >= 500:
            raise DemoError(f"{action} by {rep}: {answer.status_code} {answer.text}")
        return answer.is_success

    async def post_event(self, event: dict[str, Any]) -> None:
        """Post an event. Raises `DemoError`."""
        await self._send("/v1/events", self.key, event)

    async def post_form(self, form: str, fields: dict[str, Any]) -> None:
        """Post a form, as a visitor without a key. Raises `DemoError`."""
        await self._send(f"/v1/forms/{form}", None, fields)

    async def _send(self, path: str, key: str | None, body: dict[str, Any]) -> None:
        answer = await self._post(path, key, body)
        if answer.status_code != 202:
            raise DemoError(f"{path}: {answer.status_code} {answer.text}")

    async def _post(self, path: str, key: str | None, body: dict[str, Any] | None) -> Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            return await self.http.post(path, json=body, headers=headers)
        except HTTPError as failure:
            if self.stop.is_set():
                raise asyncio.CancelledError from failure  # the demo is over
            raise DemoError(f"{path}: no answer ({type(failure).__name__})") from failure
