"""Pages of the console that stay open for long: they keep their clocks right, change under the focus, and fit. The menu of a phone."""

import re

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.e2e.processes import ProcessInstallation
from tests.e2e.test_console_walks import PHONE, submit, walk

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]  # that of the browser
CLOCK = "[data-region=clocks] .clock"


async def test_clock_counts_on_while_the_device_sleeps(
    browser: Browser, example_installation: ProcessInstallation
) -> None:
    submit(example_installation, 71, "Sol Nacht")
    async with walk(browser, example_installation, "manager") as manager:
        await manager.context.add_init_script("performance.now = () => 0;")  # it stands still in sleep
        await manager.open("/console/now")
        clock = manager.page.locator(CLOCK).first
        before = await clock.text_content() or ""
        assert re.fullmatch(r"[0-9:]+ left", before)
        await expect(clock).not_to_have_text(before)


async def test_part_changes_under_the_focus_and_keeps_it(
    browser: Browser, example_installation: ProcessInstallation
) -> None:
    submit(example_installation, 72, "Ida First")
    async with walk(browser, example_installation, "manager") as manager:
        await manager.open("/console/now")
        link = manager.page.locator("[data-region=newest]").get_by_role("link", name="Ida First")
        await link.focus()
        submit(example_installation, 73, "Udo Next")
        await manager.page.locator("[data-region=newest]").get_by_role("link", name="Udo Next").wait_for()
        await expect(link).to_be_focused()


async def test_long_mail_address_of_a_person_without_a_name_fits_a_phone(
    browser: Browser, example_installation: ProcessInstallation
) -> None:
    email = "a.very.long.name.of.one.person@a-very-long-name-of-one-company.example"
    form = f"{example_installation.url}/v1/forms/demo-request"
    httpx.post(form, data={"email": email}, trust_env=False).raise_for_status()
    async with walk(browser, example_installation, "manager", size=PHONE) as manager:
        await manager.open("/console/now")
        await manager.page.get_by_role("link", name=email).first.wait_for()
        await manager.fits()


async def test_menu_of_a_phone_is_one_row_until_it_is_opened(
    browser: Browser, example_installation: ProcessInstallation
) -> None:
    async with walk(browser, example_installation, "admin", size=PHONE) as operator:
        await operator.open("/console/leads")
        assert await operator.page.evaluate("document.querySelector('header').clientHeight") < 64
        await operator.page.locator("header summary").focus()
        await operator.page.keyboard.press("Enter")
        await operator.page.get_by_role("button", name="Sign out").wait_for()
        await operator.accessible()
        await operator.fits()
        await operator.page.keyboard.press("Tab")
        await operator.page.keyboard.press("Enter")
        await operator.page.wait_for_url("**/console/now")
