"""The page of the agreement: its rules in words, its history, and the check of a draft."""

import re

import pytest

from tests.story.conftest import OpenWorld
from tests.story.sample_config import AGREEMENT, TEAM
from tests.story.test_console import csrf_in, signed_in
from tests.story.world import World

PATH = "/console/agreement"
DRAFT = f"{PATH}/draft"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REORDERED = AGREEMENT.replace("name: Acme inbound", "name: Acme inbound # \u202e:elur drocer")


def words_of(page: str) -> str:
    """Return the text of a page without markup, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def checked(world: World, text: str, file: str = "agreement") -> str:
    """Return the page with the findings in a draft."""
    browser = await signed_in(world, "marketing")
    page = await browser.get(DRAFT)
    answer = await browser.post(DRAFT, {"csrf": csrf_in(page), "file": file, "text": text})
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("role", ["marketing", "sales", "manager", "admin"])
async def test_agreement_is_told_in_words_to_every_role(world: World, role: str) -> None:
    browser = await signed_in(world, role, "ana" if role == "sales" else None)
    answer = await browser.get(PATH)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) < 100_000
    text = words_of(answer.text)
    assert "Acme inbound" in text
    assert "+40 Company of the right size number of employees is between 50 and 2,000" in text
    assert "-40 Free mailbox kind of mail address is free" in text
    assert "Downloaded a paper downloads something 3 in 30 days" in text
    assert "A from 70, B from 40, C from 20, D below." in text
    assert "when the lead submits a form where form is one of demo-request , contact-sales and not (" in text
    assert "as soon as total score is at least 60 and fit is at least 30" in text
    assert "hot 1 hour every minute, day and night" in text
    assert "20 minutes the manager is paged" in text
    assert "the previous owner of the last 90 days" in text
    assert "Competitor : mail domain is one of rival.example" in text
    assert "A rep sees all leads." in text
    assert "None" not in text


async def test_fences_are_drawn_with_the_same_content_as_a_table(world: World) -> None:
    page = (await (await signed_in(world, "marketing")).get(PATH)).text
    picture = page[page.index('<svg class="fences"') : page.index("</svg>")]
    assert "<title" in picture
    for status in ("new", "nurturing", "assigned", "customer", "opted out"):
        assert f">{status}</text>" in picture
    assert picture.count('class="way handover"') >= 2
    assert "from any status" in picture
    text = words_of(page)
    assert "assigned nurturing the owner with a reason: not now, wrong person, no budget, competitor" in text
    assert "any status opted out everyone" in text


async def test_names_of_the_author_are_shown_as_text(open_world: OpenWorld) -> None:
    rule = {"points": 5, "because": "<script>alert(1)</script>", "when": {"custom.<b>x</b>": {"eq": "<i>"}}}
    world = await open_world(agreement={"name": "<u>A</u>", "scoring": {"fit": {"rules": [rule]}}})
    page = (await (await signed_in(world, "manager")).get(PATH)).text
    assert "&lt;script&gt;alert(1)" in page
    for markup in ("<script>alert", "<i>", "<u>A"):
        assert markup not in page


async def test_conditions_in_conditions_are_read_as_they_are_computed(open_world: OpenWorld) -> None:
    german, french = {"country": {"eq": "DE"}}, {"country": {"eq": "FR"}}
    rule = {"points": 5, "because": "Nested", "when": {"all": [{"not": {"any": [german, french]}}, {"not": german}]}}
    world = await open_world(agreement={"scoring": {"fit": {"rules": [rule]}}})
    text = words_of((await (await signed_in(world, "manager")).get(PATH)).text)
    assert "Nested not (country is DE or country is FR ) and not (country is DE )" in text


@pytest.mark.both_profiles
async def test_history_names_each_version_its_time_and_its_differences(world: World) -> None:
    first = (await world.get("/v1/agreement"))["version"]
    world.clock.advance(hours=2)
    await world.change("agreement", {"rearm_below": 35, "scoring": {"grades": {"A": 80, "B": 40, "C": 20}}})
    world.clock.advance(hours=2)
    await world.change("agreement", {})
    listed = (await world.get("/v1/agreement/versions"))["items"]
    second = listed[1]["version"]
    assert [item["version"] for item in listed] == [first, second, first]
    assert [item["in_force"] for item in listed] == [True, False, False]
    assert [item["changed"] for item in listed] == [["agreement"], ["agreement"], None]
    assert listed[1]["to"] == listed[0]["from"]
    one = await world.get("/v1/agreement/versions?limit=1")
    two = await world.get(f"/v1/agreement/versions?limit=1&cursor={one['next']}")
    assert [*one["items"], *two["items"]] == listed[:2]
    browser = await signed_in(world, "marketing")
    page = await browser.get(PATH)
    links = re.findall(r'href="(/console/agreement/changes[^"]+)"', page.text)
    assert len(links) == 2
    text = words_of((await browser.get(links[1].replace("&amp;", "&"))).text)
    assert "added grades: {A: 80, B: 40, C: 20}" in text
    assert "removed grades: {A: 70, B: 40, C: 20}" in text
    assert "added rearm_below: 35" in text
    unknown = await browser.get(f"{PATH}/changes?version=nope&since={first}")
    assert unknown.status_code == 404


async def test_history_says_who_loaded_a_version_and_what_else_changed(world: World) -> None:
    world.clock.advance(hours=1)
    await world.change("team", {"accounts": None})
    world.clock.advance(hours=1)
    await world.change(
        "sources", {"sources": [{"id": "site", "kind": "form", "forms": ["demo-request", "contact-sales"]}]}
    )
    listed = (await world.get("/v1/agreement/versions"))["items"]
    assert [item["changed"] for item in listed] == [["sources"], ["team"], None]
    assert {item["loaded_by"] for item in listed} == {"files"}
    assert "by the running process, from its files" in (await (await signed_in(world, "sales")).get(PATH)).text


async def test_correct_draft_is_confirmed_and_changes_nothing(world: World) -> None:
    before = await world.get("/v1/agreement")
    text = await checked(world, AGREEMENT.replace("touch_within: 1h", "touch_within: 2h"))
    assert "The draft is correct. Nothing was changed." in text
    assert await world.get("/v1/agreement") == before


async def test_finding_stands_at_its_line_with_the_text_beside_it(world: World) -> None:
    draft = AGREEMENT.replace("pool: everyone", "pool: evryone")
    line = next(n for n, text in enumerate(draft.split("\n"), 1) if "evryone" in text)
    column = draft.split("\n")[line - 1].index("evryone") + 1
    page = await checked(world, draft)
    assert f"agreement.yaml:{line}:{column}" in page
    assert "did you mean `everyone`?" in page
    assert re.search(rf'class="row here"><span class="n">{line}</span> [^<]*<mark>e</mark>vryone', page)
    assert "1 mistake. Nothing was changed." in page


async def test_draft_of_the_team_is_checked_beside_the_agreement(world: World) -> None:
    page = await checked(world, TEAM.replace("id: everyone", "id: others"), "team")
    assert re.search(r"agreement\.yaml:\d+:\d+", page)
    assert "in force, which does not fit the draft" in page
    assert "Nothing was changed" in await checked(world, TEAM, "team")


@pytest.mark.parametrize(
    ("draft", "finding"),
    [
        (BOMB, "more than 100000 values"),
        ("[" * 5_000, "nested deeper"),
        ("{a: " * 5_000, "nested deeper"),
        (f"name: {'x' * 100_000}", "agreement.yaml:1:"),
        (f"{'x' * 100_000}: 1", "agreement.yaml:1:"),
        ("name: !!python/object/apply:os.system ['true']", "is a YAML tag"),
        (REORDERED, "U+202E"),
        ("name: a\x00b", "agreement.yaml:1:"),
        ("name: '\x1b[31mred'", "agreement.yaml:1:"),
        ("---\na: 1\n---\nb: 2", "keep one document"),
        ("name: </textarea><script>alert(1)</script>", "agreement.yaml:1:"),
        ("", "the file is empty"),
        ("\ud83d\ude00: 1".encode("utf-16", "surrogatepass").decode("utf-16"), "agreement.yaml:1:"),
    ],
    ids=["bomb", "lists", "mappings", "long value", "long key", "tag", "bidi", "nul", "escape", "two", "markup", "empty", "emoji"],
)  # fmt: skip
async def test_hostile_draft_answers_with_a_clear_finding(world: World, draft: str, finding: str) -> None:
    page = await checked(world, draft)
    assert finding in page
    assert "Nothing was changed." in page
    assert "<script>alert" not in page
    assert "\u202e" not in page.partition("<textarea")[0]
    assert len(page) < len(draft) * 2 + 100_000


async def test_draft_that_is_too_long_is_refused_with_the_bound(world: World) -> None:
    browser = await signed_in(world, "manager")
    page = await browser.get(DRAFT)
    answer = await browser.post(DRAFT, {"csrf": csrf_in(page), "text": "x" * (128 * 1024 + 1)})
    assert answer.status_code == 413
    assert "131,072" in answer.text
    assert len(answer.content) < 20_000


async def test_check_needs_the_form_of_the_session(world: World) -> None:
    browser = await signed_in(world, "manager")
    assert (await browser.post(DRAFT, {"text": AGREEMENT})).status_code == 403
    assert (await world.ask("POST", "/v1/agreement/check", "ingest", body={"agreement": "a"})).status_code == 403
    in_force = (await world.ask("POST", "/v1/agreement/check", body={})).json()
    assert in_force["version"] == (await world.get("/v1/agreement"))["version"]
