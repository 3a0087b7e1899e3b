"""Who may ask for what: every endpoint, every role."""

from typing import Final

from services.runtime.auth import ROLES
from tests.story.world import World

ANYBODY: Final = None
NEEDED: Final[dict[str, str | None]] = {
    "POST /v1/events": "ingest",
    "POST /v1/forms/{form}": ANYBODY,  # it is a browser's; the origin is looked at
    "POST /hooks/{source}": ANYBODY,  # its signature is looked at
    "GET /asyncapi.yaml": ANYBODY,
    "GET /json/{name}.json": ANYBODY,
    "GET /v1/leads": "ingest",
    "GET /v1/leads/{lead}": "ingest",
    "GET /v1/leads/{lead}/timeline": "ingest",
    "GET /v1/leads/{lead}/decisions": "ingest",
    "GET /v1/leads/{lead}/score": "ingest",
    "POST /v1/leads/{lead}/accept": "sales",
    "POST /v1/leads/{lead}/reject": "sales",
    "POST /v1/leads/{lead}/touch": "sales",
    "POST /v1/leads/{lead}/recycle": "sales",
    "POST /v1/leads/{lead}/assign": "sales",
    "POST /v1/leads/{lead}/opt-out": "ingest",
    "GET /v1/reps": "sales",
    "POST /v1/reps/{rep}/availability": "sales",
    "GET /v1/pools": "sales",
    "GET /v1/pages": "sales",
    "GET /v1/reports/statuses": "marketing",
    "POST /v1/keys": "admin",
    "GET /v1/keys": "admin",
    "DELETE /v1/keys/{id}": "admin",
    "GET /v1/deadletters": "manager",
    "GET /v1/deadletters/{id}": "admin",
    "POST /v1/deadletters/{id}/retry": "admin",
    "POST /v1/deadletters/{id}/drop": "admin",
    "POST /v1/verify": "admin",
    "POST /v1/doctor": "admin",
}
"""The role each endpoint needs. A new endpoint is not served before it stands here."""


async def endpoints(world: World) -> list[str]:
    """Every endpoint that is described."""
    described = (await world.get("/openapi.json"))["paths"]
    return [f"{method.upper()} {path}" for path, methods in described.items() for method in methods]


async def test_every_endpoint_has_a_role(world: World) -> None:
    assert sorted(await endpoints(world)) == sorted(NEEDED)


async def test_each_endpoint_refuses_every_role_that_is_too_low_and_no_other(world: World) -> None:
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        path = path.replace("{", "no-such-").replace("}", "")
        for role, allowed in ROLES.items():
            if endpoint == "POST /v1/doctor" and role == "admin":
                continue  # it looks at the host
            answer = await world.ask(method, path, role)
            refused = needed is not ANYBODY and needed not in allowed
            assert (answer.status_code == 403) == refused, (endpoint, role, answer.text)
            if refused:
                assert answer.json()["title"] == "Not for this key"
                assert f"role {needed}" in answer.json()["detail"]


async def test_without_a_key_only_forms_and_signed_hooks_are_looked_at(world: World) -> None:
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        answer = await world.ask(method, path.replace("{", "").replace("}", ""), None)
        assert (answer.status_code == 401) == (needed is not ANYBODY), (endpoint, answer.text)


async def test_health_metrics_and_documents_need_no_key(world: World) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert (await world.ask("GET", path, None)).status_code == 200


async def test_a_reps_key_acts_for_that_rep_alone_and_a_managers_for_anybody(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    assert (await world.act("cto@prospect.example", "accept", "bo")).status_code == 403
    assert (await world.act("cto@prospect.example", "accept", "max")).status_code == 200
    away = {"available": False}
    assert (await world.ask("POST", "/v1/reps/ana/availability", "sales", "bo", body=away)).status_code == 403
    assert (await world.ask("POST", "/v1/reps/ana/availability", "manager", body=away)).status_code == 200


async def test_marketing_may_not_touch_what_is_sales(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    lead = (await world.lead("cto@prospect.example"))["id"]
    body = {"reason": "stalled"}
    assert (await world.ask("POST", f"/v1/leads/{lead}/recycle", "marketing", body=body)).status_code == 403


async def test_a_revoked_key_is_refused(world: World) -> None:
    key = await world.key("manager")
    [listed] = (await world.get("/v1/keys"))["items"]
    assert key not in str(listed)
    assert (await world.ask("GET", "/v1/reps", "manager")).status_code == 200
    assert (await world.ask("DELETE", f"/v1/keys/{listed['id']}")).status_code == 200
    assert (await world.ask("GET", "/v1/reps", "manager")).status_code == 401
