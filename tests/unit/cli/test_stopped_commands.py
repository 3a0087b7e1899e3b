"""Commands that ask a service work on a stopped installation."""

import re
from pathlib import Path

import firsthour.cli
from firsthour.bootstrap.services import all_services
from firsthour.cli import offline
from tests.unit.gateway.harness import GatewayHarness

CODE = "\n".join(file.read_text() for file in sorted(Path(firsthour.cli.__file__).parent.glob("*.py")))
PATHS = sorted({re.split(r"[?]", path)[0] for path in re.findall(r'"(/v1/[^"\n]*)"', CODE)})
OF_A_RUNNING_CONSOLE = {"/v1/console-links"}


async def test_path_that_a_command_asks_is_served(tmp_path: Path) -> None:
    """An unknown path is answered with the problem `not-found`, which a command explains by another version."""
    resources = GatewayHarness(tmp_path).resources
    unknown = []
    async with offline.client_of(resources, all_services({}, None), live=False) as client:
        for path in PATHS:
            answer = await client.request("PUT", _example(path))
            if answer.status_code == 404 and path not in OF_A_RUNNING_CONSOLE:
                unknown.append(path)
    assert unknown == []


def _example(path: str) -> str:
    """Return a path of a request. A command adds to the path of a webhook."""
    known = path.replace("{change}", "release")
    return re.sub(r"\{[^{}]*\}", "x", known) + ("/deliveries" if known.startswith("/v1/webhooks/{") else "")
