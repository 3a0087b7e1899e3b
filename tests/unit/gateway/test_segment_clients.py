"""The libraries of Segment and RudderStack send to the gateway over a real socket, and report no error."""

import asyncio
import importlib
from typing import Any

import pytest

from tests.unit.gateway.harness import GatewayHarness
from tests.unit.gateway.listening import listening


def _segment(key: str, host: str, errors: list[Any]) -> Any:
    module = importlib.import_module("segment.analytics.client")
    return module.Client(key, host=host, gzip=True, max_retries=0, on_error=lambda error, _: errors.append(error))


def _rudder(key: str, host: str, errors: list[Any]) -> Any:
    module = importlib.import_module("rudderstack.analytics.client")
    return module.Client(key, host=host, max_retries=0, on_error=lambda error, _: errors.append(error))


def _send(client: Any) -> None:
    client.identify("ann@acme.example", {"firstName": "Ann", "company": {"name": "Acme"}})
    client.track("ann@acme.example", "Trial Started", {"plan": "pro"})
    client.page("ann@acme.example", "Docs", "Pricing", {"path": "/pricing"})
    client.flush()
    client.shutdown()


@pytest.mark.parametrize("library", [_segment, _rudder])
async def test_library_delivers_its_calls_without_an_error(harness: GatewayHarness, library: Any) -> None:
    errors: list[Any] = []
    async with listening(harness) as host:
        client = library(harness.secrets["ingest"], host, errors)
        await asyncio.to_thread(_send, client)
    assert errors == []
    records = harness.records
    assert [record.type for record in records] == ["lead.updated", "trial.started", "page.viewed"]
    assert {record.event.email for record in records} == {"ann@acme.example"}
    assert records[0].event.person["company.name"] == "Acme"


async def test_library_reports_a_wrong_key(harness: GatewayHarness) -> None:
    errors: list[Any] = []
    async with listening(harness) as host:
        client = _segment("wrong", host, errors)
        await asyncio.to_thread(_send, client)
    assert "401" in str(errors[0])
