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
AT = "2026-12-01T08:59:00Z"
NOW = "$(date -u +%Y-%m-%dT%H:%M:%SZ)"


def part_of_the_readme(pattern: str) -> str:
    """Return the part of the section that the group of the pattern matches."""
    section = README.read_text().partition("### A vendor without a preset")[2].partition("\n## ")[0]
    found = re.search(pattern, section, re.DOTALL)
    assert found is not None
    return found[1]


def source_of_the_readme() -> dict[str, Any]:
    """Return the source in the README, with its secret in a file."""
    source: dict[str, Any] = YAML(typ="safe", pure=True).load(part_of_the_readme(r"```yaml\n(.*?)```"))[0]
    assert source["verify"].pop("secrets") == [{"file": "webinar.secret"}]
    return {**source, "verify": {**source["verify"], "secrets": [{"file": "phone.secret"}]}}


def delivery_of_the_readme() -> dict[str, Any]:
    """Return the body in the README, sent now, with a part that the mapping does not read."""
    text = part_of_the_readme(r"cat > delivery.json <<END\n(.*?)END\n")
    assert NOW in text
    delivery: dict[str, Any] = json.loads(text.replace(NOW, AT))
    delivery["registration"]["person"]["shoe"] = 41
    return delivery


async def test_vendor_of_the_readme_brings_an_owned_lead_after_a_trial(open_world: OpenWorld) -> None:
    world = await open_world(sources={"sources": [source_of_the_readme()]})
    body = json.dumps(delivery_of_the_readme()).encode()
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
        "marie@prospect.example",
        "demo-request",
    )
    assert event["expressions"]["company.name"] == "registration.person.firm"
    assert await world.leads() == []  # a trial stores nothing

    headers = {"X-Webinar-Signature": signature, "Content-Type": "application/json"}
    assert (await world.http.post("/hooks/webinars", content=body, headers=headers)).status_code == 202
    await world.settle()
    assert await world.owner_of("marie@prospect.example") in ("ana", "bo", "cy")
