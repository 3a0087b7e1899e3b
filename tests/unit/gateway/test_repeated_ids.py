"""Lists of events in which one id is repeated: the same data is harmless, other data is named and kept."""

import json

import pytest

from tests.unit.gateway.harness import GatewayHarness

ANN = {"id": "1", "type": "page.viewed", "email": "ann@prospect.example", "data": {"path": "/"}}


@pytest.mark.parametrize("form", ["short", "cloudevents"])
async def test_list_with_one_id_and_other_data_is_refused_and_names_the_entry(
    harness: GatewayHarness, form: str
) -> None:
    other = {**ANN, "email": "bo@prospect.example"}
    media, events = "application/json", [ANN, ANN, other]
    if form == "cloudevents":
        media = "application/cloudevents-batch+json"
        events = [
            {
                "specversion": "1.0",
                "source": "/crm",
                "id": "1",
                "type": "page.viewed",
                "data": {"email": one["email"], "path": "/"},
            }
            for one in events
        ]
    sent = {"content-type": media, "authorization": f"Bearer {harness.secrets['ingest']}"}
    answer = await harness.request("POST", "/v1/events", sent, json.dumps(events).encode())
    assert answer.status == 422
    assert answer.json["errors"] == [
        {
            "pointer": "#/2/id",
            "detail": "is the id of #/0 too, which has other data; give each event an id of its own",
        }
    ]
    assert (len(harness.letters), harness.records) == (1, [])
    same = await harness.request("POST", "/v1/events", sent, json.dumps(events[:2]).encode())
    assert (same.status, len({row.event_id for row in harness.units.rows})) == (202, 1)
