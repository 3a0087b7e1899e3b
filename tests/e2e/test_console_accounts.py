"""People sign in to the console with an account at a real provider of OpenID Connect, in a real browser."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey
from playwright.async_api import Browser, Page

from devtools.machine import MissingError
from tests.e2e.processes import ROOT, ProcessInstallation, end, environment, free_port, until
from tests.node import libraries

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]  # that of the browser
CLIENT = "firsthour"
SECRET = "secret-of-the-client:%+"
PROVIDER_SECONDS = 30.0
OLD, NEW = (
    RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"}, private=True) for kid in ("old", "new")
)


@dataclass
class AccountSetting:
    """A running installation, and a provider that can be restarted with other keys."""

    installation: ProcessInstallation
    node: Path
    port: int

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    @contextmanager
    def provider(self, signing: RSAKey = OLD, published: RSAKey | None = None) -> Iterator[None]:
        """Run the provider. `published`: the key that it shows, if it is another one than that with which it signs."""
        keys = {"signing": signing.as_dict(private=True), "published": [(published or signing).as_dict(private=False)]}
        back = f"{self.installation.url}/console/sign-in/callback"
        process = subprocess.Popen(
            ["node", "provider.mjs", str(self.port), CLIENT, SECRET, back, json.dumps(keys)],
            cwd=self.node,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until(self._answers, PROVIDER_SECONDS, "provider answers")
            yield
        finally:
            end(process)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.issuer}/.well-known/openid-configuration", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccountSetting]:
    """Return an installation whose team file names the provider."""
    try:
        node = libraries.installed()
    except MissingError as problem:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(problem))
    directory, port, provider_port = tmp_path_factory.mktemp("accounts"), free_port(), free_port()
    command = [sys.executable, "-m", "firsthour", "init", str(directory / "config")]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    sign_in = {
        "issuer": f"http://localhost:{provider_port}",
        "client_id": CLIENT,
        "name": "Company account",
        "scopes": ["openid", "email", "groups"],
        "roles": [{"role": "manager", "has": ["leads"]}],
    }
    with (directory / "config/team.yaml").open("a") as team:
        team.write(f"sign_in: {json.dumps(sign_in)}\n")
    settings = {"oidc_client_secret": SECRET, "public_url": f"http://127.0.0.1:{port}"}
    with ProcessInstallation(directory / "config", directory / "data", settings, port) as running:
        yield AccountSetting(running, node, provider_port)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """Return a page without cookies. The test fails if the browser reports a violation of a policy of ours."""
    opened = await browser.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(f"{opened.url}: {message.text}"))
    yield opened
    await opened.close()
    assert [line for line in complaints if line.startswith("http://127.0.0.1") and "Policy" in line] == []


async def sign_in(page: Page, setting: AccountSetting, account: str) -> None:
    """Walk from the console to the provider and back."""
    await page.goto(f"{setting.installation.url}/console/leads")
    await page.get_by_role("link", name="Sign in with Company account").click()
    await page.locator("input[name=login]").fill(account)
    await page.locator("input[name=password]").fill("any")
    await page.get_by_role("button").first.click()
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url(re.compile(re.escape(setting.installation.url)))


async def test_rep_signs_in_with_an_account_and_out(setting: AccountSetting, page: Page) -> None:
    with setting.provider():
        await sign_in(page, setting, "lea@ourcompany.example")
        assert page.url == f"{setting.installation.url}/console/leads"
        assert "Léa Martin" in await page.locator("header").inner_text()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("heading", name="Sign in").wait_for()


async def test_group_of_the_userinfo_endpoint_gives_a_role(setting: AccountSetting, page: Page) -> None:
    with setting.provider():
        await sign_in(page, setting, "boss@ourcompany.example")
        assert "manager" in await page.locator("header").inner_text()


async def test_stranger_with_an_account_reads_what_is_needed(setting: AccountSetting, page: Page) -> None:
    with setting.provider():
        await sign_in(page, setting, "eve@elsewhere.example")
        assert "Your account has no role here." in await page.locator("main").inner_text()


async def test_cancelled_sign_in_is_a_page(setting: AccountSetting, page: Page) -> None:
    with setting.provider():
        await page.goto(f"{setting.installation.url}/console/sign-in")
        await page.get_by_role("link", name="Sign in with Company account").click()
        await page.locator("a[href$='/abort']").click()
        await page.get_by_text("The provider did not confirm your account").wait_for()


async def test_provider_that_is_away_is_a_page(setting: AccountSetting, page: Page) -> None:
    with setting.provider():
        await page.goto(f"{setting.installation.url}/console/sign-in")
        await page.get_by_role("link", name="Sign in with Company account").click()
        await page.locator("input[name=login]").wait_for()
        back = f"{setting.installation.url}/console/sign-in/callback"
        cookies = {cookie.get("name"): str(cookie.get("value")) for cookie in await page.context.cookies()}
    state = cookies["firsthour_sign_in"].partition(".")[0]
    await page.goto(f"{back}?code=x&state={state}")
    await page.get_by_text("The provider of accounts failed").wait_for()


async def test_provider_changes_its_key_while_the_installation_runs(setting: AccountSetting, page: Page) -> None:
    leads, account = f"{setting.installation.url}/console/leads", "lea@ourcompany.example"
    with setting.provider():
        await sign_in(page, setting, account)
        assert page.url == leads
    with setting.provider(NEW):
        await page.context.clear_cookies()
        await sign_in(page, setting, account)
        assert page.url == leads
    with setting.provider(OLD, published=NEW):
        await page.context.clear_cookies()
        await sign_in(page, setting, account)
        assert "no key of the provider has signed the id token" in await page.locator("main").inner_text()
        await page.goto(leads)
        await page.get_by_role("heading", name="Sign in").wait_for()
