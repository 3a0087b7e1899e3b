"""Pages stay small, also with many leads: below 100 kB without their charts."""

import re

from tests.story.console_routes import console_routes
from tests.story.test_console import signed_in
from tests.story.world import World

LEADS = 60  # more than *Now* and *My leads* show
REPS = 40
PAGE_BYTES_MAX = 100_000
_CHART = re.compile(r"<svg.*?</svg>", re.DOTALL)


async def test_every_page_is_small_with_many_leads_and_reps(world: World) -> None:
    reps = [
        {"id": rep, "name": f"Rep {rep.title()}", "email": f"{rep}@acme.example"}
        for rep in ("ana", "bo", "cy", "max", *(f"rep{number}" for number in range(REPS)))
    ]
    await world.change("team", {"reps": reps})
    for number in range(LEADS):
        person = {"name": f"Marie-Claire Okafor {number}", "company": f"Nordwind Logistik International {number} GmbH"}
        await world.submit_form(email=f"marie.okafor@nordwind-{number}.example", title="Head of Operations", **person)
    lead = (await world.leads())[0]["id"]
    sizes = {}
    for browser in (await signed_in(world, "admin"), await signed_in(world, "sales", "ana")):
        for route in console_routes(world, lead=str(lead), rep="ana"):
            if route.method == "GET" and not route.is_stream:
                answer = await browser.get(route.path)
                page = answer.text if answer.headers.get("content-type", "").startswith("text/html") else ""
                sizes[route.path] = len(_CHART.sub("", page).encode())
    assert max(sizes.values()) > 10_000
    assert {path: size for path, size in sizes.items() if size > PAGE_BYTES_MAX} == {}
