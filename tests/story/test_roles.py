"""The role that each endpoint requires."""

from typing import Final

import pytest
from fastapi.routing import iter_route_contexts

from firsthour.runtime.http.principal import READ, ROLES
from services.gateway.asgi import Gateway
from tests.story.world import World

PUBLIC: Final = None
SIGNED: Final = "signature"  # no role is enough: the sender signs the request
CALLS = tuple(f"POST /v1/{call}" for call in ("batch", "identify", "track", "page", "screen", "group", "alias"))
STREAM: Final = "/v1/stream"
"""Its answer does not end. Its role is tested with it."""
CONSOLE: Final = ("GET /", "GET /console", "/console/")
"""The pages need a session; they ask the endpoints below for its principal."""
NEEDED: Final[dict[str, str | None]] = {
    "POST /v1/events": "ingest",
    **dict.fromkeys(CALLS, "ingest"),
    "POST /v1/forms/{form}": PUBLIC,  # sent by a browser; the origin is checked
    "POST /hooks/{source}": PUBLIC,  # the signature is checked
    "GET /a/{token}": PUBLIC,  # the token is signed, and expires
    "POST /a/{token}": PUBLIC,  # as above
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,  # without a key it shows only the status
    "GET /metrics": READ,
    "GET /docs": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /asyncapi.yaml": PUBLIC,
    "GET /json/{name}.json": PUBLIC,
    "GET /v1/leads": READ,
    "GET /v1/stream": READ,
    "GET /v1/clocks": READ,
    "GET /v1/queue": READ,
    "GET /v1/queue/relief": "sales",
    "GET /v1/leads/{lead}": READ,
    "GET /v1/leads/{lead}/timeline": READ,
    "GET /v1/leads/{lead}/decisions": READ,
    "GET /v1/leads/{lead}/score": READ,
    "GET /v1/leads/{lead}/facts": READ,
    "GET /v1/permitted-actions": READ,
    "GET /v1/leads/{lead}/actions": READ,
    "POST /v1/leads/{lead}/accept": "sales",
    "POST /v1/leads/{lead}/reject": "sales",
    "POST /v1/leads/{lead}/snooze": "sales",
    "POST /v1/leads/{lead}/touch": "sales",
    "POST /v1/leads/{lead}/recycle": "sales",
    "POST /v1/leads/{lead}/assign": "sales",
    "POST /v1/leads/{lead}/opt-out": READ,
    "POST /v1/leads/{lead}/status": READ,
    "GET /v1/reps": "sales",
    "POST /v1/reps/{rep}/availability": "sales",
    "GET /v1/pools": "sales",
    "GET /v1/pools/{pool}/shares": "sales",
    "GET /v1/agreement": READ,  # it binds both teams
    "GET /v1/agreement/missing-facts": READ,
    "GET /v1/agreement/versions": READ,
    "GET /v1/agreement/versions/{version}/changes": READ,
    "POST /v1/agreement/check": READ,  # it changes nothing
    "POST /v1/reps/{rep}/page-test": "sales",
    "GET /v1/pages": "sales",
    "GET /v1/pages/waiting": "manager",
    "POST /v1/pages/{id}/resend": "manager",
    "GET /v1/reports/statuses": "marketing",
    "GET /v1/reports/response": "sales",
    "GET /v1/reports/response/hops": "sales",
    "POST /v1/reports/rebuild": "admin",
    "GET /v1/reports/hours": READ,
    "GET /v1/reports/funnel": READ,  # conversion concerns both teams
    "GET /v1/reports/funnel.csv": READ,
    "GET /v1/reports/funnel/leads": READ,
    "GET /v1/sources": "marketing",
    "GET /v1/sources/{id}": "marketing",
    "GET /v1/bursts": READ,
    "POST /v1/bursts/{id}/release": READ,
    "POST /v1/bursts/{id}/drop": "manager",
    "GET /v1/quarantine": "marketing",
    "POST /v1/quarantine/{source}/release": "marketing",
    "POST /v1/quarantine/{source}/drop": "marketing",
    "GET /v1/sources/{id}/fields": "marketing",
    "POST /v1/sources/{id}/try": "marketing",
    "POST /slack/interactions": SIGNED,
    "POST /slack/commands": SIGNED,
    "GET /v1/webhooks": "manager",
    "GET /v1/webhooks/{name}/deliveries": "manager",
    "GET /v1/webhooks/{name}/deliveries/{id}": "manager",
    "POST /v1/webhooks/{name}/deliveries/{id}/resend": "admin",
    "POST /v1/webhooks/{name}/resend": "admin",
    "POST /v1/webhooks/{name}/enable": "admin",
    "GET /v1/notices": "manager",
    "POST /v1/tell/{team}": "manager",
    "POST /v1/import/{source}": READ,
    "POST /v1/console-links": "admin",
    "GET /v1/sessions": "admin",
    "DELETE /v1/sessions/{id}": "admin",
    "GET /v1/audit": "manager",
    "POST /v1/keys": "admin",
    "GET /v1/keys": "admin",
    "DELETE /v1/keys/{id}": "admin",
    "GET /v1/deadletters": "manager",
    "GET /v1/deadletters/{id}": "admin",
    "POST /v1/deadletters/retry": "admin",
    "POST /v1/deadletters/{id}/retry": "admin",
    "POST /v1/deadletters/{id}/drop": "admin",
    "GET /v1/state": "admin",
    "GET /v1/findings": "manager",
    "POST /v1/verify": "admin",
    "POST /v1/doctor": "admin",
}
"""The role that each endpoint requires. A new endpoint must be added here."""


def endpoints(world: World) -> set[str]:
    """Return every endpoint of the application, described or not. HEAD is left out: it is answered like GET."""
    assert isinstance(world.system.app, Gateway)
    routes = iter_route_contexts(world.system.app.inner.routes)  # type: ignore[attr-defined]  # the framework's own
    return {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}


async def test_every_endpoint_has_a_role(world: World) -> None:
    pages = {endpoint for endpoint in endpoints(world) if endpoint in CONSOLE or CONSOLE[-1] in endpoint}
    assert endpoints(world) - pages == NEEDED.keys()
    described = (await world.get("/openapi.json"))["paths"]
    assert {f"{method.upper()} {path}" for path, methods in described.items() for method in methods} <= NEEDED.keys()


async def test_ingest_key_may_only_write_events(world: World) -> None:
    assert {endpoint for endpoint, needed in NEEDED.items() if needed in ROLES["ingest"]} == {"POST /v1/events", *CALLS}
    await world.submit_form(email="cto@prospect.example")
    lead = (await world.lead("cto@prospect.example"))["id"]
    for path in ("", "/timeline", "/score", "/decisions"):
        assert (await world.ask("GET", f"/v1/leads/{lead}{path}", "ingest")).status_code == 403
    assert (await world.ask("POST", f"/v1/leads/{lead}/opt-out", "ingest", body={"reason": "x"})).status_code == 403
    assert (await world.status_of("cto@prospect.example")) == "assigned"
    assert (await world.ask("GET", "/readyz", "ingest")).json() == {"status": "ready"}


@pytest.mark.both_profiles
async def test_each_endpoint_rejects_exactly_the_roles_without_permission(world: World) -> None:
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        if path == STREAM:
            continue
        path = path.replace("{", "no-such-").replace("}", "")
        for role, allowed in ROLES.items():
            if endpoint == "POST /v1/doctor" and role == "admin":
                continue  # it examines the host
            answer = await world.ask(method, path, role)
            refused = needed not in (PUBLIC, SIGNED) and needed not in allowed
            assert (answer.status_code == 403) == refused, (endpoint, role, answer.text)
            if refused:
                assert answer.json()["title"] == "Forbidden"
                assert f"role {'marketing or sales' if needed == READ else needed}" in answer.json()["detail"]


async def test_request_without_a_key_reaches_only_public_endpoints(world: World) -> None:
    for endpoint, needed in NEEDED.items():
        method, path = endpoint.split()
        answer = await world.ask(method, path.replace("{", "").replace("}", ""), None)
        assert (answer.status_code == 401) == (needed is not PUBLIC), (endpoint, answer.text)


async def test_readiness_without_a_key_shows_only_the_status(world: World) -> None:
    assert (await world.ask("GET", "/readyz", None)).json() == {"status": "ready"}
    for role in ROLES.keys() - {"ingest"}:
        assert {"status", "checks", "warnings"} == (await world.ask("GET", "/readyz", role)).json().keys()


async def test_rep_key_acts_for_its_rep_and_manager_key_for_every_rep(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    assert (await world.act("cto@prospect.example", "accept", "bo")).status_code == 403
    assert (await world.act("cto@prospect.example", "accept", "max")).status_code == 200
    away = {"available": False}
    assert (await world.ask("POST", "/v1/reps/ana/availability", "sales", "bo", body=away)).status_code == 403
    assert (await world.ask("POST", "/v1/reps/ana/availability", "manager", body=away)).status_code == 200


async def test_event_cannot_replace_a_forbidden_action(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    deal = world.event_body("opportunity.changed", email="cto@prospect.example", stage="lost")
    touch = world.event_body("touch.recorded", email="cto@prospect.example", channel="phone", answered=True)
    for role in ("ingest", "marketing"):
        assert (await world.post_events(deal, role=role)).status_code == 403
        assert (await world.post_events(touch, role=role)).status_code == 403
    assert (await world.post_events(deal, role="sales", rep="bo")).status_code == 403
    await world.settle()
    assert (await world.status_of("cto@prospect.example")) == "assigned"


async def test_touch_with_a_rep_key_counts_for_that_rep(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    touch = world.event_body("touch.recorded", email="cto@prospect.example", channel="phone", rep="zed")
    assert (await world.post_events(touch, role="sales", rep="cy")).status_code == 202
    await world.settle()
    [touched] = [
        item["data"]
        for item in await world.lead_items("cto@prospect.example", "timeline")
        if item["topic"] == "routes" and "touched_at" in item["data"]
    ]
    assert touched["rep"] == "cy"


async def test_key_of_a_rep_ends_when_the_rep_is_removed(world: World) -> None:
    assert (await world.ask("GET", "/v1/reps", "sales", "cy")).status_code == 200
    reps = [
        {"id": id, "name": id, "email": f"{id}@acme.example", "active": id != "cy"} for id in ("ana", "bo", "cy", "max")
    ]
    await world.change("team", {"reps": reps})
    assert (await world.ask("GET", "/v1/reps", "sales", "cy")).status_code == 401
    assert (await world.ask("GET", "/v1/reps", "sales", "bo")).status_code == 200
    await world.change(
        "team",
        {
            "reps": [rep for rep in reps if rep["id"] != "cy"],
            "pools": [{"id": "everyone", "members": [{"rep": "ana"}]}],
            "accounts": [],
        },
    )
    assert (await world.ask("GET", "/v1/reps", "sales", "cy")).status_code == 401


@pytest.mark.parametrize("path", ["/v1/leads/a%00b", "/v1/leads/" + "x" * 6_000, "/v1/leads/%ff%00"])
@pytest.mark.both_profiles
async def test_odd_path_is_404_on_every_database(world: World, path: str) -> None:
    for rest in ("", "/timeline", "/score", "/decisions"):
        assert (await world.ask("GET", path + rest)).status_code == 404
    for action, body in (
        ("accept", None),
        ("opt-out", {"reason": "x"}),
        ("touch", {"channel": "phone", "answered": True}),
    ):
        for headers in ({}, {"Idempotency-Key": "k" * 255}):
            answer = await world.ask("POST", f"{path}/{action}", "manager", body=body, headers=headers)
            assert answer.status_code == 404, answer.text
    rep = path.replace("leads", "reps")
    answer = await world.ask("POST", f"{rep}/availability", body={"available": True}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 404
    for other in (path.replace("leads", "keys"), path.replace("leads", "deadletters")):
        assert (await world.ask("DELETE" if "keys" in other else "GET", other)).status_code == 404
    for odd in (path.replace("/v1/leads/", "/v1/forms/"), path.replace("/v1/leads/", "/hooks/")):
        assert (await world.ask("POST", odd, body={}, headers={"Idempotency-Key": "k"})).status_code == 404


@pytest.mark.both_profiles
async def test_odd_query_value_never_fails_on_any_database(world: World) -> None:
    for odd in ("%00", "a%00b", "x" * 6_000, "%ff", "%ed%a0%80"):
        for name in ("email", "status", "owner"):
            answer = await world.ask("GET", f"/v1/leads?{name}={odd}")
            assert answer.status_code in (200, 422), (name, odd[:9], answer.text)
        for path in ("/v1/leads?cursor=", "/v1/pages?cursor="):
            assert (await world.ask("GET", path + odd)).status_code in (200, 422), (path, odd[:9])
        assert (await world.ask("GET", f"/v1/pages?lead={odd}")).status_code == 200
    for cursor in ("9" * 30, "9" * 18 + "-" + "0" * 36, "zzzz", "-1"):
        for path in ("/v1/leads?cursor=", "/v1/pages?cursor="):
            assert (await world.ask("GET", path + cursor)).status_code in (200, 422), (path, cursor)


async def test_marketing_key_cannot_recycle_a_lead_of_sales(world: World) -> None:
    await world.submit_form(email="cto@prospect.example")
    lead = (await world.lead("cto@prospect.example"))["id"]
    body = {"reason": "stalled"}
    assert (await world.ask("POST", f"/v1/leads/{lead}/recycle", "marketing", body=body)).status_code == 403


@pytest.mark.both_profiles
async def test_revoked_key_is_rejected(world: World) -> None:
    key = await world.key("manager")
    [listed] = (await world.get("/v1/keys"))["items"]
    assert key not in str(listed)
    assert (await world.ask("GET", "/v1/reps", "manager")).status_code == 200
    assert (await world.ask("DELETE", f"/v1/keys/{listed['id']}")).status_code == 200
    assert (await world.ask("GET", "/v1/reps", "manager")).status_code == 401
