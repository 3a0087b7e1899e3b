"""Signing in with an account at a provider, as its browser sees it: each way in, and each way in which it can fail."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from firsthour.runtime.http.client import Response
from services.console.routes.openid import BEGIN, CALLBACK
from services.console.viewer import PLAIN_COOKIE
from tests.fakes.openid import CLIENT, SECRET, WELL_KNOWN, FakeProvider
from tests.fakes.services import ServiceAnswer
from tests.story.conftest import OpenWorld
from tests.story.test_console import Browser, csrf_in
from tests.story.world import World


@dataclass
class AccountStory:
    """A world whose team file names a provider, and a person with an account there."""

    world: World
    provider: FakeProvider
    browser: Browser

    async def location(self, target: str = "") -> str:
        answer = await self.browser.get(f"{BEGIN}?next={target}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def sign_in(self, target: str = "", **answer: str) -> Response:
        """Walk to the provider and back."""
        return await self.browser.get(self.provider.authorize(await self.location(target), **answer))

    async def sessions(self) -> list[dict[str, Any]]:
        return list((await self.world.get("/v1/sessions"))["items"])


@pytest.fixture
async def story(open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AccountStory]:
    monkeypatch.setenv("FIRSTHOUR_OIDC_CLIENT_SECRET", SECRET)
    world = await open_world()
    async with FakeProvider(world.clock, email="ana@acme.example") as provider:
        rule = {"role": "manager", "has": ["sales-leads"]}
        sign_in = {"issuer": provider.url, "client_id": CLIENT, "name": "Acme account", "roles": [rule]}
        await world.change("team", {"sign_in": sign_in})
        yield AccountStory(world, provider, Browser(world))


def assert_refused(answer: Response, status: int, *words: str) -> None:
    """Check the page of a refusal: it gives the reason, and no session."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    for word in words:
        assert word in answer.text
    assert f"{PLAIN_COOKIE}=" not in answer.headers.get("set-cookie", "")


async def test_rep_signs_in_and_out_with_an_account(story: AccountStory) -> None:
    page = await story.browser.get("/console/sign-in?next=/console/leads")
    assert "Sign in with Acme account" in page.text
    answer = await story.sign_in("/console/leads?status=new")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/leads?status=new")
    assert (await story.browser.get("/console")).headers["location"] == "/console/mine"
    (session,) = await story.sessions()
    assert (session["name"], session["role"], session["rep"]) == ("Ana Gomez", "sales", "ana")
    page = await story.browser.get("/console/sessions")
    assert (await story.browser.post("/console/sign-out", {"csrf": csrf_in(page)})).status_code == 303
    assert await story.sessions() == []


async def test_request_to_the_provider_has_state_nonce_and_a_challenge(story: AccountStory) -> None:
    first, second = [
        {name: values[0] for name, values in parse_qs(urlsplit(await story.location()).query).items()} for _ in range(2)
    ]
    assert first["tenant"] == "1"
    assert (first["response_type"], first["code_challenge_method"]) == ("code", "S256")
    assert first["redirect_uri"] == f"http://127.0.0.1:8080{CALLBACK}"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) == 43
        assert first[name] != second[name]


async def test_group_gives_a_role_to_an_account_that_is_no_rep(story: AccountStory) -> None:
    story.provider.claims["email"] = "mia@acme.example"
    story.provider.further = {"groups": ["everyone", "sales-leads"]}
    assert (await story.sign_in()).status_code == 303
    (session,) = await story.sessions()
    assert (session["name"], session["role"], session["rep"]) == ("mia@acme.example", "manager", None)


async def test_account_without_a_role_reads_what_is_needed(story: AccountStory) -> None:
    story.provider.claims["email"] = "eve@other.example"
    assert_refused(await story.sign_in(), 403, "active rep", "sales-leads", "claim", "groups")
    story.provider.claims |= {"email": "ana@acme.example", "email_verified": False}
    assert_refused(await story.sign_in(), 403, "verified mail address")
    assert await story.sessions() == []


async def test_session_of_an_account_ends_after_its_time_and_with_the_rep(story: AccountStory) -> None:
    await story.sign_in()
    other = replace(story, browser=Browser(story.world))
    await other.sign_in()
    story.world.clock.advance(hours=11)
    assert (await story.browser.get("/console/leads")).status_code == 200
    story.world.clock.advance(hours=2)
    assert (await story.browser.get("/console/leads")).status_code == 403
    await other.sign_in()
    reps = [{"id": "ana", "name": "Ana Gomez", "email": "ana@acme.example", "active": False}]
    reps += [{"id": rep, "name": rep, "email": f"{rep}@acme.example"} for rep in ("bo", "cy", "max")]
    await story.world.change("team", {"reps": reps})
    assert (await other.browser.get("/console/leads")).status_code == 403


@pytest.mark.parametrize(
    ("error", "status"),
    [("access_denied", 403), ("temporarily_unavailable", 503), ("invalid_scope", 403), ("<script>", 403)],
)
async def test_error_of_the_provider_is_a_page(story: AccountStory, error: str, status: int) -> None:
    answer = await story.sign_in(error=error, error_description="<script>alert(1)</script>")
    assert_refused(answer, status)
    assert "<script>" not in answer.text.replace("<script src", "")


async def test_answer_to_a_sign_in_of_another_browser_is_refused(story: AccountStory) -> None:
    back = story.provider.authorize(await story.location())
    assert_refused(await Browser(story.world).get(back), 403, "another browser")
    assert_refused(await story.sign_in(state="forged"), 403, "Begin again")
    assert_refused(await story.sign_in(state=""), 403, "Begin again")
    assert_refused(await story.sign_in(iss="https://evil.example"), 403, "Another provider")
    assert (await story.sign_in(iss=story.provider.url)).status_code == 303


async def test_answer_of_the_provider_is_used_once(story: AccountStory) -> None:
    back = story.provider.authorize(await story.location())
    assert (await story.browser.get(back)).status_code == 303
    assert_refused(await story.browser.get(back), 403, "Begin again")


@pytest.mark.parametrize("code", ["", "wrong", "x" * 5_000], ids=["empty", "wrong", "long"])
async def test_wrong_code_is_refused(story: AccountStory, code: str) -> None:
    answer = await story.sign_in(code=code)
    assert_refused(answer, 503 if code == "wrong" else 403)


@pytest.mark.parametrize(
    "cookie", ["", "x", "a.b.c", "a.b.c.!", "a.b.c._w", "....", "a.b.c.d.e", "a" * 9_000], ids=lambda c: c[:8]
)
async def test_forged_cookie_of_a_sign_in_is_refused(story: AccountStory, cookie: str) -> None:
    browser = Browser(story.world)
    browser.cookies[f"{PLAIN_COOKIE}_sign_in"] = cookie
    for state in ("a", "", "x"):
        answer = await browser.get(f"{CALLBACK}?code=1&state={state}")
        assert answer.status_code in (403, 503), answer.text


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/console\\evil", "/other"])
async def test_no_other_site_is_reached_after_a_sign_in(story: AccountStory, target: str) -> None:
    assert (await story.sign_in(target)).headers["location"] == "/console"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (WELL_KNOWN, ServiceAnswer(500)),
        (WELL_KNOWN, ServiceAnswer(200, body=b" " * 100_000)),
        ("/jwks", ServiceAnswer(200, body=b"{}")),
        ("/token", ServiceAnswer(200, body=b"no json")),
        ("/userinfo", ServiceAnswer(200, body=b"[]")),
    ],
    ids=["away", "oversized", "no keys", "malformed", "no claims"],
)
async def test_failing_provider_is_a_page_with_another_way_in(
    story: AccountStory, path: str, answer: ServiceAnswer
) -> None:
    story.provider.answers[path] = answer
    begun = await story.browser.get(BEGIN)
    last = (
        begun
        if begun.status_code != 303
        else await story.browser.get(story.provider.authorize(begun.headers["location"]))
    )
    assert_refused(last, 503, "firsthour console-link")
    assert last.headers["retry-after"]


async def test_hostile_id_token_is_refused_with_the_reason(story: AccountStory) -> None:
    for claims, word in (({"aud": "other"}, "aud"), ({"nonce": "old"}, "nonce"), ({"exp": 1}, "expired")):
        story.provider.claims = {"sub": "account-1", "email": "ana@acme.example", **claims}
        assert_refused(await story.sign_in(), 403, word)


async def test_installation_without_a_provider_says_so(world: World) -> None:
    browser = Browser(world)
    assert "Sign in with" not in (await browser.get("/console/sign-in")).text
    for path in (BEGIN, CALLBACK):
        assert_refused(await browser.get(path), 404, "sign_in")
