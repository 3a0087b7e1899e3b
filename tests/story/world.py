"""The installation of a story, with the actions of prospects, reps and managers, and the views that they read."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from firsthour.bootstrap.distributed import Distributed
from firsthour.runtime.http import key_store
from firsthour.runtime.http.client import Response
from firsthour.runtime.storage.unit import Unit
from tests.distributed_harness import apply
from tests.story import sample_config
from tests.story.installation import ADMIN, StoryInstallation
from tests.story.sample_config import PHONE_SECRET, Changes

_ROLE_OF: Final = {"touch.recorded": "sales", "opportunity.changed": "manager"}
"""The role of the key that an event is sent with. Other types are sent with `ingest`."""
_ADMIN: Final = {"Authorization": f"Bearer {ADMIN}"}


@dataclass
class World(StoryInstallation):
    """An installation and the people around it. Each action is settled when it returns."""

    # --- configuration and requests -----------------------------------------------------------------------------------

    async def change(self, name: str, changes: Changes) -> None:
        """Edit a configuration file while the process runs. On the distributed profile, apply it."""
        sample_config.write(self.config, name, changes)
        if isinstance(self.system, Distributed):
            await apply(self.system, self.config)
        await self.settle()

    async def key(self, role: str, rep: str | None = None) -> str:
        """Return the API key of this role and rep. Each call returns the same key."""
        if (role, rep) not in self._keys:

            def work(unit: Unit) -> str:
                name = f"{role} of {rep or 'no rep'}"
                return key_store.create(unit.connection, name=name, role=role, rep=rep, now=unit.clock.real())[1]

            key = await self.system.units.run(work)
            await self.system.runners["runtime.keys"].step()
            self._keys[role, rep] = key
        return self._keys[role, rep]

    async def ask(
        self,
        method: str,
        path: str,
        role: str | None = "admin",
        rep: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request with a key of this role; None: without a key."""
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {ADMIN if role == 'admin' else await self.key(role, rep)}"
        return await self.http.request(method, path, json=body, headers=sent)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    # --- prospects, and their systems ---------------------------------------------------------------------------------

    async def submit_form(self, form: str = "demo-request", **fields: Any) -> None:
        """Submit a form, as a prospect does in a browser."""
        answer = await self.post_form(form, **fields)
        assert answer.status_code == 202, answer.text
        await self.settle()

    async def post_form(self, form: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Response:
        """Send the request of a form. A dot in the name of a field is written `__`."""
        body = {name.replace("__", "."): value for name, value in fields.items()}
        return await self.http.post(f"/v1/forms/{form}", json=body, headers=headers or {})

    async def event(self, type: str, **fields: Any) -> None:
        """Post an event. Fields that are not identifiers go into `data`."""
        answer = await self.post_events(self.event_body(type, **fields), role=_ROLE_OF.get(type, "ingest"))
        assert answer.status_code == 202, answer.text
        await self.settle()

    def event_body(self, type: str, **fields: Any) -> dict[str, Any]:
        """Return an event in the short form. Without `id`, it has an id of its own."""
        body: dict[str, Any] = {"id": f"event-{next(self._ids)}", "type": type}
        for name in ("id", "time", "email", "phone"):
            if name in fields:
                value = fields.pop(name)
                body[name] = value.isoformat() if isinstance(value, datetime) else value
        return {**body, "data": fields}

    async def post_events(
        self,
        *events: Mapping[str, Any],
        role: str = "ingest",
        rep: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send the request that posts these events."""
        key = await self.key(role, rep)
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        body = json.dumps(events[0] if len(events) == 1 else events)
        return await self.http.post("/v1/events", content=body, headers=sent)

    async def send_rows(
        self, source: str, body: bytes, headers: Mapping[str, str] | None = None, *, dry_run: bool = False
    ) -> Response:
        """Send rows of a list, as `firsthour import` does."""
        path = f"/v1/import/{source}?dry_run={str(dry_run).lower()}"
        return await self.http.post(path, content=body, headers=headers or _ADMIN)

    async def call_ended(self, email: str, *, agent: str, seconds: int = 300) -> None:
        """Send the webhook of the telephone system for a call."""
        body = {
            "kind": "call.ended",
            "uuid": f"call-{next(self._ids)}",
            "ended_at": self.clock.business().isoformat(),
            "customer": {"email": email},
            "agent": {"email": agent},
            "duration": seconds,
        }
        answer = await self.hook("phone", json.dumps(body).encode())
        assert answer.status_code == 202, answer.text
        await self.settle()

    async def hook(self, source: str, body: bytes, secret: str = PHONE_SECRET) -> Response:
        """Send a signed webhook."""
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        headers = {"X-Signature": signature, "Content-Type": "application/json"}
        return await self.http.post(f"/hooks/{source}", content=body, headers=headers)

    # --- reps and managers --------------------------------------------------------------------------------------------

    async def touch(self, email: str, by: str, *, answered: bool = True, **more: Any) -> None:
        """Record a touch by a rep."""
        await self._act_and_settle(email, "touch", by, channel="phone", answered=answered, **more)

    async def accept(self, email: str, by: str) -> None:
        await self._act_and_settle(email, "accept", by)

    async def reject(self, email: str, by: str, reason: str) -> None:
        await self._act_and_settle(email, "reject", by, reason=reason)

    async def opt_out(self, email: str, by: str = "max") -> None:
        await self._act_and_settle(email, "opt-out", by, reason="asked us to stop")

    async def recycle(self, email: str, by: str, reason: str = "stalled") -> None:
        await self._act_and_settle(email, "recycle", by, reason=reason)

    async def act(self, email: str, action: str, by: str, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """Send the request of an action, with a key of the rep `by`."""
        lead = (await self.lead(email))["id"]
        role = "manager" if by == "max" else "sales"
        return await self.ask("POST", f"/v1/leads/{lead}/{action}", role, by, body=body, headers=headers)

    async def _act_and_settle(self, email: str, action: str, by: str, **body: Any) -> None:
        answer = await self.act(email, action, by, **body)
        assert answer.status_code == 200, answer.text
        await self.settle()

    async def is_away(self, rep: str, **until: float) -> None:
        """Mark a rep as away, for this span (`hours=2`) or open-ended."""
        end = {"until": (self.clock.business() + timedelta(**until)).isoformat()} if until else {}
        await self._set_availability(rep, available=False, **end)

    async def is_back(self, rep: str) -> None:
        await self._set_availability(rep, available=True)

    async def _set_availability(self, rep: str, **body: Any) -> None:
        answer = await self.ask("POST", f"/v1/reps/{rep}/availability", "sales", rep, body=body)
        assert answer.status_code == 200, answer.text
        await self.settle()

    # --- leads, pages and recipients ----------------------------------------------------------------------------------

    async def lead(self, email: str) -> dict[str, Any]:
        """Return the only lead with this address."""
        items = (await self.http.get("/v1/leads", params={"email": email}, headers=_ADMIN)).json()["items"]
        assert len(items) == 1, f"{len(items)} leads of {email}"
        return dict(items[0])

    async def leads(self, **query: str) -> list[dict[str, Any]]:
        """Return the leads of this query, newest first."""
        answer = await self.http.get("/v1/leads", params={"limit": "500", **query}, headers=_ADMIN)
        return list(answer.json()["items"])

    async def owner_of(self, email: str) -> str | None:
        owner = (await self.lead(email))["owner"]
        return None if owner is None else str(owner["id"])

    async def status_of(self, email: str) -> str:
        return str((await self.lead(email))["status"])

    async def lead_items(self, email: str, listing: str) -> list[dict[str, Any]]:
        """Return the items of `/v1/leads/{id}/<listing>`, oldest first."""
        return list(reversed((await self.get(f"/v1/leads/{(await self.lead(email))['id']}/{listing}"))["items"]))

    async def event_types_of(self, email: str) -> list[str]:
        """Return the event types in the timeline of a lead, oldest first."""
        return [str(item["type"]) for item in await self.lead_items(email, "timeline")]

    async def pages(self, email: str | None = None) -> list[dict[str, Any]]:
        """Return the pages of this lead, or of all leads, oldest first."""
        lead_filter = f"&lead={(await self.lead(email))['id']}" if email else ""
        return list(reversed((await self.get(f"/v1/pages?limit=200{lead_filter}"))["items"]))

    @property
    def slack_recipients(self) -> list[str]:
        """Return the rep ids to which Slack messages were sent, by time; those of one moment by id."""
        return [member.removeprefix("U0").lower() for member in self.slack.recipients]

    @property
    def mail_recipients(self) -> list[str]:
        """Return the rep ids to which mails were sent, in order."""
        return [address.partition("@")[0] for address in self.smtp.recipients]
