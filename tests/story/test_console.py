"""The console: signing in, sessions, and what a viewer may see and do."""

import re
from typing import Any

from firsthour.runtime.http.client import AsyncClient, Response
from services.console.viewer import PLAIN_COOKIE
from tests.story.world import World

CTO = "cto@prospect.example"


class Browser:
    """A browser without a script: it keeps cookies, and follows no redirect by itself."""

    def __init__(self, world: World) -> None:
        self._http: AsyncClient = world.http
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **headers: str) -> Response:
        return await self._send("GET", path, None, headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Response:
        return await self._send("POST", path, fields, headers)

    async def _send(self, method: str, path: str, fields: Any, headers: dict[str, str]) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self._http.request(method, path, data=fields, headers=sent)
        self._http.cookies.clear()  # the client of the world is not a browser
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer


def csrf_in(page: Response) -> str:
    match = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert match
    return match[1]


async def link_of(world: World, role: str, rep: str | None = None) -> str:
    answer = await world.ask("POST", "/v1/console-links", body={"role": role, "rep": rep})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"]).partition("/console/")[2]


async def signed_in(world: World, role: str, rep: str | None = None) -> Browser:
    browser = Browser(world)
    answer = await browser.post(f"/console/{await link_of(world, role, rep)}", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    return browser


async def test_link_signs_in_once(world: World) -> None:
    link = f"/console/{await link_of(world, 'sales', 'ana')}"
    browser, other = Browser(world), Browser(world)
    assert "as Ana" in (await browser.get(link)).text
    assert (await browser.post(link, {})).status_code == 303
    assert (await other.post(link, {})).status_code == 404
    assert (await browser.get("/console")).headers["location"] == "/console/mine"
    assert (await other.get("/console")).headers["location"].startswith("/console/sign-in")


async def test_link_ends_after_15_minutes(world: World) -> None:
    link = f"/console/{await link_of(world, 'admin')}"
    world.clock.advance(minutes=16)
    answer = await Browser(world).post(link, {})
    assert answer.status_code == 404
    assert "console-link" in answer.text


async def test_cookie_of_a_session_is_hidden_from_scripts_and_other_sites(world: World) -> None:
    answer = await Browser(world).post(f"/console/{await link_of(world, 'admin')}", {})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie


async def test_key_is_exchanged_for_a_session_that_ends_with_the_key(world: World) -> None:
    key = await world.key("sales", "ana")
    browser = Browser(world)
    answer = await browser.post("/console/sign-in", {"key": key, "next": "/console/leads?status=new"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/leads?status=new")
    assert (await browser.get("/console/leads")).status_code == 200
    (used,) = [item for item in (await world.get("/v1/keys"))["items"] if item["rep"] == "ana"]
    assert (await world.ask("DELETE", f"/v1/keys/{used['id']}")).status_code == 200
    assert (await browser.get("/console/leads")).status_code == 403


async def test_wrong_key_is_refused_with_the_reason(world: World) -> None:
    answer = await Browser(world).post("/console/sign-in", {"key": "fh_wrong"})
    assert answer.status_code == 401
    assert "firsthour keys create" in answer.text
    assert PLAIN_COOKIE not in answer.headers.get("set-cookie", "")


async def test_key_that_only_sends_events_does_not_sign_in(world: World) -> None:
    answer = await Browser(world).post("/console/sign-in", {"key": await world.key("ingest")})
    assert answer.status_code == 403


async def test_next_page_of_another_site_is_ignored(world: World) -> None:
    key = await world.key("manager")
    for target in ("https://evil.example/", "//evil.example", "/console\\evil", "javascript:alert(1)", "/consoleevil"):
        answer = await Browser(world).post("/console/sign-in", {"key": key, "next": target})
        assert answer.headers["location"] == "/console", target


async def test_forged_session_and_missing_csrf_token_change_nothing(world: World) -> None:
    browser = await signed_in(world, "admin")
    page = await browser.get("/console/sessions")
    (session,) = (await world.get("/v1/sessions"))["items"]
    end = f"/console/sessions/{session['id']}/end"
    assert (await browser.post(end, {})).status_code == 403
    assert (await browser.post(end, {"csrf": "0" * 64})).status_code == 403
    assert (await browser.post(end, {"csrf": csrf_in(page)}, sec_fetch_site="cross-site")).status_code == 403
    forged = Browser(world)
    forged.cookies[PLAIN_COOKIE] = "forged"
    assert (await forged.post(end, {"csrf": csrf_in(page)})).status_code == 403
    assert len((await world.get("/v1/sessions"))["items"]) == 1
    assert (await browser.post(end, {"csrf": csrf_in(page)})).status_code == 303
    assert (await world.get("/v1/sessions"))["items"] == []


async def test_rep_sees_and_ends_only_their_own_sessions(world: World) -> None:
    ana, manager = await signed_in(world, "sales", "ana"), await signed_in(world, "manager")
    page = await ana.get("/console/sessions")
    assert page.text.count('/end"') == 1
    other = next(item for item in (await world.get("/v1/sessions"))["items"] if item["role"] == "manager")
    assert (await ana.post(f"/console/sessions/{other['id']}/end", {"csrf": csrf_in(page)})).status_code == 404
    assert (await manager.get("/console/leads")).status_code == 200


async def test_session_ends_by_signing_out_and_by_idleness(world: World) -> None:
    browser, idle = await signed_in(world, "manager"), await signed_in(world, "manager")
    page = await browser.get("/console/leads")
    assert (await browser.post("/console/sign-out", {"csrf": csrf_in(page)})).status_code == 303
    assert (await browser.get("/console/leads")).status_code == 303
    world.clock.advance(days=6)
    assert (await idle.get("/console/leads")).status_code == 200
    world.clock.advance(days=6)
    assert (await idle.get("/console/leads")).status_code == 200
    world.clock.advance(days=8)
    ended = await idle.get("/console/leads?status=new")
    assert ended.status_code == 403
    assert 'name="next" value="/console/leads?status=new"' in ended.text


async def test_script_without_a_session_gets_401_instead_of_a_page(world: World) -> None:
    assert (await Browser(world).get("/console/leads", sec_fetch_mode="cors")).status_code == 401


async def test_pages_load_nothing_from_elsewhere_and_run_no_inline_script(world: World) -> None:
    await world.submit_form(email=CTO, name="<script>alert(1)</script>")
    browser = await signed_in(world, "manager")
    lead = (await world.lead(CTO))["id"]
    page = await browser.get("/console/style")
    for path in ("/console/leads", f"/console/leads/{lead}", "/console/sessions", "/console/style"):
        page = await browser.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"<script>|<style|style=|onclick|https?://", page.text), path
    for url in re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page.text):
        file = await browser.get(url)
        assert "immutable" in file.headers["cache-control"]


async def test_unknown_lead_is_a_page_for_people(world: World) -> None:
    answer = await (await signed_in(world, "manager")).get("/console/leads/no-such-lead")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Unknown lead" in answer.text
