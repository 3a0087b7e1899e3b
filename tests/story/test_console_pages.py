"""The pages of the console: what a viewer sees now, and what they do."""

import re
from typing import Any
from zoneinfo import ZoneInfo

from firsthour.runtime.http.client import Response
from tests.story.test_console import CTO, Browser, csrf_in, signed_in
from tests.story.world import World

CEO = "ceo@other.example"


async def lead_path(world: World, email: str = CTO) -> str:
    return f"/console/leads/{(await world.lead(email))['id']}"


async def do(world: World, browser: Browser, path: str, action: str, **fields: str) -> Response:
    page = await browser.get(path)
    answer = await browser.post(f"{path}/{action}", {"csrf": csrf_in(page), **fields})
    await world.settle()
    return answer


async def test_now_shows_clocks_queue_and_reps(world: World) -> None:
    browser = await signed_in(world, "manager")
    assert "No clock runs" in (await browser.get("/console/now")).text
    await world.submit_form(email=CTO, name="Cora Tan")
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep)
    await world.submit_form(email=CEO, name="Carl Oh")
    text = (await browser.get("/console/now")).text
    assert "Cora Tan" in text
    assert 'data-due="' in text
    assert re.search(r"<b>1</b> <?[^<]*no rep|<b>1</b>", text)
    assert "away" in text


async def test_running_clocks_come_by_promise_and_the_queue_by_time(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.wait(minutes=5)
    await world.submit_form(email=CEO)
    clocks = (await world.get("/v1/clocks"))["items"]
    assert [lead["email"] for lead in clocks] == [CTO, CEO]
    await world.touch(CTO, by=str(clocks[0]["owner"]["id"]))
    assert [lead["email"] for lead in (await world.get("/v1/clocks"))["items"]] == [CEO]
    assert (await world.get("/v1/queue"))["items"] == []


async def test_queue_names_the_change_that_would_free_it(world: World) -> None:
    for rep in ("ana", "bo", "cy"):
        await world.is_away(rep, **({"hours": 5} if rep != "cy" else {}))
    await world.submit_form(email=CTO)
    (pool,) = (await world.get("/v1/queue/relief"))["items"]
    assert [(one["kind"], one["number"], one["frees"]) for one in pool["changes"]] == [
        ("return", 2, 1),
        ("return", 1, 1),
    ]
    manager = (await (await signed_in(world, "manager")).get("/console/now")).text
    assert "2 reps come back at" in manager
    assert "Cy" in manager
    assert "come back" not in (await (await signed_in(world, "marketing")).get("/console/now")).text


async def test_promises_about_to_be_missed_are_named(world: World) -> None:
    await world.submit_form(email=CTO, name="Cora Tan")
    browser = await signed_in(world, "manager")
    assert "No promise is about to be missed" in (await browser.get("/console/now")).text
    assert (await world.get("/v1/clocks?within=15"))["items"] == []
    await world.wait(minutes=50)
    assert "Promises that end within 15 minutes" in (await browser.get("/console/now")).text
    assert [lead["email"] for lead in (await world.get("/v1/clocks?within=15"))["items"]] == [CTO]
    await world.wait(minutes=20)
    assert "No promise is about to be missed" in (await browser.get("/console/now")).text
    assert (await world.get("/v1/clocks?within=15"))["items"] == []


async def test_leads_are_counted_by_the_hour_of_the_day_in_the_zone_of_the_viewer(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.submit_form(email=CEO)
    hour = world.clock.business().hour

    async def counted(zone: str = "UTC") -> dict[int, tuple[int, int]]:
        items = (await world.get(f"/v1/reports/hours?timezone={zone}"))["items"]
        return {item["hour"]: (item["leads"], item["today"]) for item in items if item["leads"] or item["today"]}

    assert await counted() == {hour: (0, 2)}
    await world.wait(hours=24)
    await world.submit_form(email="third@other.example")
    assert await counted() == {hour: (2, 1)}
    assert await counted("Asia/Tokyo") == {(hour + 9) % 24: (2, 1)}
    assert (await world.ask("GET", "/v1/reports/hours?timezone=Mars/North")).status_code == 422
    text = (await (await signed_in(world, "manager")).get("/console/now")).text
    assert "Today: 1." in text


async def test_lead_shows_score_decision_pages_and_timeline(world: World) -> None:
    await world.submit_form(email=CTO, name="Cora Tan", company="Tan Ltd")
    text = (await (await signed_in(world, "manager")).get(await lead_path(world))).text
    for part in ("Cora Tan", "Tan Ltd", "Standing", "Score", "Decisions", "chosen", "Timeline", "form.submitted"):
        assert part in text, part


async def test_lead_shows_facts_with_source_and_age_and_what_is_left_of_the_score(world: World) -> None:
    await world.submit_form(email=CTO, name="Cora Tan", company="Tan Ltd", employees="400")
    await world.wait(hours=72)
    browser, path = await signed_in(world, "manager"), await lead_path(world)
    facts = (await world.get(f"/v1/leads/{path.rpartition('/')[2]}/facts"))["items"]
    assert {"name", "company.name", "email.domain"} & {fact["field"] for fact in facts}
    assert all(fact["at"] is not None for fact in facts if not fact["field"].startswith(("email.", "company.domain")))
    text = (await browser.get(path)).text
    assert re.search(r"<td>website</td><td><time[^>]+>3 days ago", text)
    assert re.search(r"<small>\d+ %</small>", text)


async def test_attempts_to_send_a_page_are_shown(world: World) -> None:
    world.slack.error("user_not_found", times=1)
    await world.submit_form(email=CTO)
    await world.wait(minutes=1)
    (page, *_) = (await world.get(f"/v1/pages?attempts=true&lead={(await world.lead(CTO))['id']}"))["items"]
    assert [(one["channel"], one["outcome"]) for one in page["attempts"]] == [("slack", "gave_up"), ("email", "sent")]
    assert "user_not_found" in (await (await signed_in(world, "manager")).get(await lead_path(world))).text


async def test_actions_of_several_leads_are_one_request(world: World) -> None:
    await world.submit_form(email=CTO)
    await world.submit_form(email=CEO)
    leads = [(await world.lead(email))["id"] for email in (CTO, CEO)]
    owner = str(await world.owner_of(CTO))
    answer = await world.ask("GET", f"/v1/permitted-actions?lead={leads[0]}&lead={leads[1]}&lead=none", "sales", owner)
    found = {item["lead"]: item["actions"] for item in answer.json()["items"]}
    assert found.keys() == set(leads)
    for lead in leads:
        one = (await world.ask("GET", f"/v1/leads/{lead}/actions", "sales", owner)).json()
        assert found[lead] == one["items"]
    many = "&".join(f"lead={n}" for n in range(101))
    assert (await world.ask("GET", f"/v1/permitted-actions?{many}", "sales")).status_code == 422


async def test_markup_in_lead_fields_stays_text(world: World) -> None:
    await world.submit_form(email=CTO, name="<img src=x onerror=alert(1)>", company="</td><script>x</script>")
    browser = await signed_in(world, "manager")
    for path in ("/console/now", "/console/leads", await lead_path(world)):
        text = (await browser.get(path)).text
        assert "<img src=x" not in text
        assert "<script>x" not in text


async def test_actions_are_those_that_the_router_permits(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    lead = (await world.lead(CTO))["id"]

    async def names(role: str, rep: str | None = None) -> dict[str, Any]:
        answer = await world.ask("GET", f"/v1/leads/{lead}/actions", role, rep)
        return {item["action"]: item for item in answer.json()["items"]}

    own = await names("sales", owner)
    assert own.keys() == {"touch", "accept", "snooze", "reject", "status", "assign", "opt-out"}
    assert own["status"]["statuses"] == [{"status": "opportunity", "reasons": []}]
    assert "not-now" in own["reject"]["reasons"]
    assert owner not in {choice["rep"] for choice in own["assign"]["reps"]}
    other = next(rep for rep in ("ana", "bo", "cy") if rep != owner)
    assert (await names("sales", other)).keys() == {"touch", "opt-out"}
    assert (await names("marketing")).keys() == {"opt-out"}
    await world.opt_out(CTO)
    assert (await names("manager")).keys() <= {"touch"}


async def test_each_permitted_action_is_applied(world: World) -> None:
    for number, action in enumerate(("touch", "accept", "snooze", "reject", "status", "assign", "opt-out")):
        email = f"person@company-{number}.example"
        await world.submit_form(email=email)
        owner = str(await world.owner_of(email))
        browser, path = await signed_in(world, "sales", owner), await lead_path(world, email)
        choices = {
            item["action"]: item
            for item in (await world.ask("GET", f"/v1/leads/{path[15:]}/actions", "sales", owner)).json()["items"]
        }
        fields = {
            "touch": {"answered": "yes", "channel": "phone", "note": "Talked about March."},
            "accept": {},
            "snooze": {"minutes": "10"},
            "reject": {"reason": "not-now"},
            "assign": {"rep": choices["assign"]["reps"][0]["rep"]},
            "status": {"status": "opportunity"},
            "opt-out": {"reason": "asked us to stop"},
        }[action]
        answer = await do(world, browser, path, action, **fields)
        assert (answer.status_code, answer.headers.get("location")) == (303, f"{path}?done={action}"), answer.text


async def test_refused_action_shows_the_lead_with_the_reason(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = await world.owner_of(CTO)
    other = next(rep for rep in ("ana", "bo", "cy") if rep != owner)
    answer = await do(world, await signed_in(world, "sales", other), await lead_path(world), "accept")
    assert answer.status_code == 403
    assert "Only its owner can do this with a lead that is assigned" in answer.text
    assert "Standing" in answer.text
    assert await world.status_of(CTO) == "assigned"


async def test_form_sent_twice_takes_effect_once(world: World) -> None:
    await world.submit_form(email=CTO)
    browser, path = await signed_in(world, "sales", await world.owner_of(CTO)), await lead_path(world)
    for _ in range(2):
        await do(world, browser, path, "touch", answered="no", channel="phone", once="the-same-form")
    assert (await world.lead(CTO))["touches"]["attempts"] == 1


async def test_rep_works_through_their_own_leads(world: World) -> None:
    await world.submit_form(email=CTO, name="Cora Tan")
    owner = str(await world.owner_of(CTO))
    browser = await signed_in(world, "sales", owner)
    page = await browser.get("/console/mine")
    assert "Cora Tan" in page.text
    (form,) = re.findall(r'action="(/console/leads/[^"]+/touch)"', page.text)
    answer = await browser.post(form, {"csrf": csrf_in(page), "back": "mine", "answered": "yes", "channel": "phone"})
    assert answer.headers["location"] == "/console/mine?done=touch"
    await world.settle()
    assert await world.status_of(CTO) == "working"
    other = await signed_in(world, "sales", next(rep for rep in ("ana", "bo", "cy") if rep != owner))
    assert "Cora Tan" not in (await other.get("/console/mine")).text


async def test_rep_goes_away_and_comes_back(world: World) -> None:
    browser = await signed_in(world, "sales", "ana")
    for available, state in (("no", "away"), ("yes", "available")):
        page = await browser.get("/console/mine")
        answer = await browser.post("/console/mine/availability", {"csrf": csrf_in(page), "available": available})
        assert answer.status_code == 303
        await world.settle()
        reps = {rep["id"]: rep["state"] for rep in (await world.get("/v1/reps"))["items"]}
        assert reps["ana"] == state


async def test_page_of_a_rep_is_refused_to_other_viewers(world: World) -> None:
    answer = await (await signed_in(world, "manager")).get("/console/mine")
    assert answer.status_code == 403
    assert "acts as a rep" in answer.text


# --- reports --------------------------------------------------------------------------------------------------------


async def test_funnel_shows_each_step_and_opens_the_leads_behind_it(world: World) -> None:
    await world.submit_form(email=CTO, name="Cora Tan")
    await world.submit_form(email=CEO, name="Carl Oh")
    await world.touch(CTO, by=str(await world.owner_of(CTO)))
    browser = await signed_in(world, "marketing")
    page = await browser.get("/console/funnel?since=30d&by=source")
    assert page.status_code == 200, page.text
    assert "2</a> entered" in page.text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/console/funnel/leads[^"]+)"', page.text)]
    assigned = next(link for link in links if "step=assigned" in link)
    names = (await browser.get(assigned)).text
    assert "Cora Tan" in names
    assert "Carl Oh" in names
    talked = next(link for link in links if "step=touch%3Aconversation" in link)
    assert "Carl Oh" not in (await browser.get(talked)).text
    for link in links:
        assert (await browser.get(link)).status_code == 200, link


async def test_funnel_of_the_page_can_be_taken_as_csv(world: World) -> None:
    await world.submit_form(email=CTO)
    browser = await signed_in(world, "marketing")
    page = await browser.get("/console/funnel?since=30d&by=source")
    (link,) = re.findall(r'href="(/console/funnel.csv[^"]+)"', page.text)
    answer = await browser.get(link.replace("&amp;", "&"))
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.startswith("source,step,reached")
    assert (await browser.get("/console/funnel.csv?since=yesterday")).status_code == 422


async def test_version_of_the_agreement_is_marked_on_the_trend(world: World) -> None:
    await world.submit_form(email=CTO)
    text = (await (await signed_in(world, "marketing")).get("/console/funnel?since=30d&per=day")).text
    assert '<line class="mark"' in text
    assert (await world.get("/v1/reports/funnel?from=30d"))["versions"][0]["version"][:8] in text


async def test_funnel_without_leads_says_so(world: World) -> None:
    assert "No lead came in this period" in (await (await signed_in(world, "manager")).get("/console/funnel")).text


async def test_wrong_period_is_a_page_for_people(world: World) -> None:
    answer = await (await signed_in(world, "manager")).get("/console/funnel?since=yesterday")
    assert answer.status_code == 422
    assert "90d" in answer.text


async def test_first_hour_is_shown_by_rep(world: World) -> None:
    await world.submit_form(email=CTO)
    owner = str(await world.owner_of(CTO))
    await world.touch(CTO, by=owner)
    text = (await (await signed_in(world, "manager")).get("/console/response?since=7d&by=rep")).text
    assert "100.0 %" in text
    names = {rep["id"]: rep["name"] for rep in (await world.get("/v1/reps"))["items"]}
    for page in ("/console/response?since=7d&by=rep", "/console/funnel?since=7d&by=rep"):
        text = (await (await signed_in(world, "manager")).get(page)).text
        assert f">{names[owner]}</span>" in text, page
    assert (await (await signed_in(world, "marketing")).get("/console/response")).status_code == 403


async def test_hours_and_weekdays_of_the_first_hour_are_those_of_the_viewer(world: World) -> None:
    await world.submit_form(email=CTO)
    browser = await signed_in(world, "manager")
    browser.cookies["firsthour_zone"] = "Asia/Kolkata"
    local = world.clock.business().astimezone(ZoneInfo("Asia/Kolkata"))
    text = (await browser.get("/console/response?since=7d&by=hour")).text
    assert f">{local.hour}:00 – {local.hour}:59</span>" in text
    assert "time zone Asia/Kolkata" in text
    assert f">{local:%A}</span>" in (await browser.get("/console/response?since=7d&by=weekday")).text
    assert "<b>1</b><span>of these wait, within their hour</span>" in text
