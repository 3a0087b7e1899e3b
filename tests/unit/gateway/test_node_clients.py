"""The libraries of Node.js send to the gateway over a real socket, and report no error."""

import os
from pathlib import Path

import pytest

from devtools.machine import MissingError
from tests.node import libraries
from tests.unit.gateway.harness import STANDARD_SECRET, GatewayHarness
from tests.unit.gateway.listening import listening

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node() -> Path:
    try:
        return libraries.installed()
    except MissingError as problem:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(problem))


@pytest.mark.parametrize("library", ["segment", "rudderstack"])
async def test_library_of_a_tracking_api_delivers_its_calls(harness: GatewayHarness, node: Path, library: str) -> None:
    async with listening(harness) as address:
        errors = await libraries.send(node, library, address, harness.secrets["ingest"], harness.clock.real())
    assert errors == []
    records = harness.records
    assert [record.type for record in records] == ["lead.updated", "trial.started", "page.viewed"]
    assert {record.event.email for record in records} == {"ann@acme.example"}
    assert records[0].event.person["company.name"] == "Acme"


async def test_segment_library_reports_a_wrong_key(harness: GatewayHarness, node: Path) -> None:
    async with listening(harness) as address:
        errors = await libraries.send(node, "segment", address, "wrong", harness.clock.real())
    assert "401" in str(errors)
    assert harness.records == []


async def test_cloudevents_arrive_in_binary_and_structured_mode(harness: GatewayHarness, node: Path) -> None:
    async with listening(harness) as address:
        errors = await libraries.send(node, "cloudevents", address, harness.secrets["ingest"], harness.clock.real())
    assert errors == []
    assert [(record.type, record.event.fields["path"]) for record in harness.records] == [
        ("page.viewed", "/pricing")
    ] * 2


async def test_webhook_signed_by_svix_is_accepted_and_a_changed_body_is_not(
    harness: GatewayHarness, node: Path
) -> None:
    async with listening(harness) as address:
        hook = f"{address}/hooks/ours"
        errors = await libraries.send(node, "svix", hook, STANDARD_SECRET, harness.clock.real())
    assert errors == ["401"]
    assert [record.type for record in harness.records] == ["form.submitted"]
