"""A vendor without a preset, by the lines of the README: from a trial to an owned lead."""

import base64
import hmac
import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.story.conftest import OpenWorld
from tests.story.sample_config import PHONE_SECRET

README = Path(__file__).parents[2] / "README.md"
DELIVERY: dict[str, Any] = {
    "action": "registered",
    "registration": {
        "id": "r-1",
        "at": "2026-12-01T08:59:00Z",
        "person": {
            "mail": "ann@prospect.example",
            "name": "Ann Lee",
            "firm": "Acme",
            "role": "CTO",
            "staff": "500+",
            "shoe": 41,
        },
    },
}


def source_of_the_readme() -> dict[str, Any]:
    """Return the source in the README, with its secret in a file."""
    section = README.read_text().partition("### A vendor without a preset")[2]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    source: dict[str, Any] = YAML(typ="safe", pure=True).load(found[1])["sources"][0]
    source["verify"] = {**source["verify"], "secrets": [{"file": "phone.secret"}]}
    return source


async def test_vendor_of_the_readme_brings_an_owned_lead_after_a_trial(open_world: OpenWorld) -> None:
    world = await open_world(sources={"sources": [source_of_the_readme()]})
    body = json.dumps(DELIVERY).encode()
    signature = hmac.new(PHONE_SECRET.encode(), body, "sha256").hexdigest()
    delivery = {
        "body": base64.b64encode(body).decode(),
        "headers": {"X-Webinar-Signature": signature},
    }

    report = (await world.ask("POST", "/v1/sources/webinars/try", "marketing", body=delivery)).json()
    assert (report["verified"], report["faults"], report["unused"]) == (True, [], ["#/registration/person/shoe"])
    [event] = report["events"]
    assert (event["type"], event["email"], event["fields"]["form"]) == (
        "form.submitted",
        "ann@prospect.example",
        "demo-request",
    )
    assert event["expressions"]["company.name"] == "registration.person.firm"
    assert await world.leads() == []  # a trial stores nothing

    headers = {"X-Webinar-Signature": signature, "Content-Type": "application/json"}
    assert (await world.http.post("/hooks/webinars", content=body, headers=headers)).status_code == 202
    await world.settle()
    assert await world.owner_of("ann@prospect.example") in ("ana", "bo", "cy")
