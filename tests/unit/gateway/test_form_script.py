"""The script of web forms, in a real browser, on a page of another origin."""

import asyncio
import os
from pathlib import Path

import pytest

from devtools import browser as chromium
from services.gateway.form_script import BYTES_MAX, script
from tests.unit.gateway.harness import Answer, GatewayHarness
from tests.unit.gateway.listening import listening, page_on_another_origin

BROWSER = chromium.program()
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Demo</title>
<form data-firsthour action="GATEWAY/v1/forms/anywhere" method="post" OPTIONS>
<label>Email <input name="email" value="EMAIL"></label>
<label>Company <input name="company" value="Ümlaut &amp; Söhne"></label>
<label><input type="checkbox" name="consent" checked> You may write to me.</label>
<input name="_hp" style="display:none">
<button>Send</button></form>
<script src="GATEWAY/forms.js"></script>
<script>setTimeout(() => { for (let n = 0; n < CLICKS; n++) document.querySelector("button").click(); }, DELAY);</script>
</html>"""
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium; Debian, Ubuntu: apt install chromium")


async def drawn(harness: GatewayHarness, directory: Path, **values: object) -> str:
    """Return the page as the browser shows it, some seconds after the click."""
    settings = {"EMAIL": "ann@acme.example", "OPTIONS": "", "CLICKS": 1, "DELAY": 1_500, **values}
    async with listening(harness) as gateway:
        page = PAGE.replace("GATEWAY", str(settings.pop("GATEWAY", gateway)))
        for name, value in settings.items():
            page = page.replace(name, str(value))
        async with page_on_another_origin(page.encode()) as address:
            process = await asyncio.create_subprocess_exec(
                str(BROWSER),
                *(
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    f"--user-data-dir={directory}",
                ),
                *("--virtual-time-budget=6000", "--dump-dom", address),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "HOME": str(directory)},
            )
            output, _ = await process.communicate()
    return output.decode()


async def test_script_is_small_and_may_be_loaded_from_any_page(harness: GatewayHarness) -> None:
    answer = await harness.request("GET", "/forms.js")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.body == script()
    assert len(script()) < BYTES_MAX


@needs_browser
@pytest.mark.slow
async def test_form_is_sent_with_the_campaign_of_the_visit(harness: GatewayHarness, tmp_path: Path) -> None:
    dom = await drawn(harness, tmp_path)
    assert "Thank you. Your message has arrived." in dom
    [record] = harness.records
    assert (record.type, record.event.email) == ("form.submitted", "ann@acme.example")
    person = record.event.person
    assert (person["company.name"], person["consent"]) == ("Ümlaut & Söhne", True)
    assert (person["utm.source"], person["utm.campaign"]) == ("newsletter", "autumn")
    assert (person["custom.first_utm_source"], person["custom.consent_text"]) == ("newsletter", "You may write to me.")
    assert "custom._ms" not in person


@needs_browser
@pytest.mark.slow
async def test_double_click_sends_one_event(harness: GatewayHarness, tmp_path: Path) -> None:
    await drawn(harness, tmp_path, CLICKS=3)
    assert len({row.event_id for row in harness.units.rows}) == 1


@needs_browser
@pytest.mark.slow
async def test_mistake_is_shown_beside_its_field(harness: GatewayHarness, tmp_path: Path) -> None:
    dom = await drawn(harness, tmp_path, EMAIL="ann")
    assert 'aria-invalid="true"' in dom
    assert 'role="alert"' in dom
    assert "Email is not an email address" in dom  # the label of the field, not its name
    assert harness.records == []


@needs_browser
@pytest.mark.slow
async def test_mistake_is_told_in_words_of_a_visitor(harness: GatewayHarness, tmp_path: Path) -> None:
    dom = await drawn(harness, tmp_path, EMAIL="")
    assert "Email is missing; " in dom
    assert "`" not in dom.partition('role="alert"')[2].partition("</p>")[0]


@needs_browser
@pytest.mark.slow
async def test_gateway_that_is_away_is_told_in_words(harness: GatewayHarness, tmp_path: Path) -> None:
    harness.units.full = True
    dom = await drawn(harness, tmp_path)
    assert 'role="alert"' in dom
    assert "<form" in dom


async def test_form_that_is_sent_at_once_is_that_of_a_robot(harness: GatewayHarness) -> None:
    async def post(elapsed: object) -> Answer:
        body = b'{"email":"ann@acme.example","_ms":%s}' % str(elapsed).encode()
        return await harness.request("POST", "/v1/forms/anywhere", {"content-type": "application/json"}, body)

    assert (await post(200)).status == 202
    assert (harness.records, len(harness.letters)) == ([], 1)
    for elapsed in (1_000, 86_400_000, -1, '"x"'):
        assert (await post(elapsed)).status == 202
    assert len(harness.records) == 4
