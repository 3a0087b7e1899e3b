"""The script of the console while a proxy or the service refuses what it sends, in a real browser."""

import re

import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.e2e.processes import ADMIN, ProcessInstallation

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]  # that of the browser


async def opened(browser: Browser, example_installation: ProcessInstallation) -> Page:
    """Return *My leads* of a rep."""
    page = await (await browser.new_context()).new_page()
    answer = httpx.post(
        f"{example_installation.url}/v1/console-links",
        json={"role": "sales", "rep": "noor"},
        headers={"authorization": f"Bearer {ADMIN}"},
        trust_env=False,
    )
    await page.goto(re.sub(r"^https?://[^/]+", example_installation.url, answer.json()["url"]))
    await page.get_by_role("button", name="Open the console").click()
    await page.wait_for_url("**/console/mine")
    return page


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_tap_survives_an_answer_of_a_proxy(
    browser: Browser,
    example_installation: ProcessInstallation,
    status: int,
) -> None:
    page = await opened(browser, example_installation)
    refused = 0

    async def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused == 1:
            await route.fulfill(status=status, body="<html><body>bad gateway</body></html>", content_type="text/html")
        else:
            await route.continue_()

    await page.route("**/console/mine/availability", refuse_once)
    await page.get_by_role("button", name="I am away").click()
    await page.get_by_role("button", name="I am back").click(timeout=20_000)
    await expect(page.get_by_role("button", name="I am away")).to_be_visible()
    assert refused == 3


async def test_refused_form_keeps_the_page_and_says_why(
    browser: Browser, example_installation: ProcessInstallation
) -> None:
    page = await opened(browser, example_installation)
    await page.route("**/console/mine/stream", lambda route: route.abort())  # it would bring a form that is valid
    await page.reload()
    await page.evaluate("document.querySelectorAll('main [name=csrf]').forEach((field) => { field.value = '0'; })")
    button = page.get_by_role("button", name="I am away")
    await button.click()
    await expect(page.get_by_role("alert").filter(has_text="Load the page again")).to_be_visible()
    assert page.url.endswith("/console/mine")
    await expect(button).not_to_have_attribute("aria-disabled", "true")


async def test_live_page_goes_on_after_its_stream_was_refused(
    browser: Browser,
    example_installation: ProcessInstallation,
) -> None:
    page = await opened(browser, example_installation)
    await page.route("**/console/mine/stream", lambda route: route.fulfill(status=502, body="bad gateway"))
    await page.reload()
    await expect(page.locator(".offline")).to_be_visible()
    await page.unroute("**/console/mine/stream")
    await expect(page.locator(".offline")).to_be_hidden(timeout=20_000)
