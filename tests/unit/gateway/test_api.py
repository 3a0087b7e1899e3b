"""The gateway in `/openapi.json`, and its service as data."""

from firsthour.runtime.http import idempotency
from firsthour.runtime.http.app import Readiness, create_app
from firsthour.runtime.storage import audit_log
from services.gateway.api import router
from services.gateway.quarantine import delete_old_quarantine
from services.gateway.service import service
from services.gateway.source_counts import delete_old_source_counts
from tests.unit.gateway.harness import GatewayHarness


def test_every_path_is_documented(harness: GatewayHarness) -> None:
    app = create_app(
        title="t", routers=[router(harness.resources)], telemetry=harness.telemetry, ready=lambda: Readiness(True)
    )
    documented = app.openapi()["paths"]
    calls = {f"/v1/{name}" for name in ("batch", "identify", "track", "page", "screen", "group", "alias")}
    quarantine = {f"/v1/quarantine{rest}" for rest in ("", "/{source}/release", "/{source}/drop")}
    assert quarantine <= set(documented)
    paths = {path: operations for path, operations in documented.items() if path not in quarantine}
    assert set(paths) == {"/v1/events", "/v1/forms/{form}", "/hooks/{source}", "/v1/sources/{id}/try"} | calls
    taken = {path: set(operations["post"]["requestBody"]["content"]) for path, operations in paths.items()}
    assert "application/cloudevents-batch+json" in taken["/v1/events"]
    assert "multipart/form-data" in taken["/v1/forms/{form}"]
    forms = paths["/v1/forms/{form}"]["post"]["responses"]
    assert set(forms["202"]["content"]) == {"application/json", "text/html"}
    assert "303" in forms
    accepted = {path: set(operations["post"]["responses"]) & {"200", "202"} for path, operations in paths.items()}
    assert {path for path, statuses in accepted.items() if statuses == {"200"}} == calls | {"/v1/sources/{id}/try"}


def test_service_sweeps_old_answers(harness: GatewayHarness) -> None:
    gateway = service()
    assert (gateway.name, gateway.sweeps) == (
        "gateway",
        (idempotency.sweep, audit_log.sweep, delete_old_source_counts, delete_old_quarantine),
    )
