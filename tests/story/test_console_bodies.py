"""Forms of the console that are long: what a page announces is accepted, and what is too much is refused with a page."""

import pytest

from firsthour.runtime.http.middleware import BODY_LIMIT
from services.console.routes.agreement import DRAFT_BYTES_MAX, DRAFT_CHARS_MAX
from tests.story.sample_config import AGREEMENT
from tests.story.test_console import Browser, csrf_in, signed_in
from tests.story.world import World

DRAFT = "/console/agreement/draft"


async def test_body_that_is_too_large_is_refused_with_a_page_on_every_path(world: World) -> None:
    for path in ("/console/sign-in", "/console/leads/x/touch", "/console", "/console/nowhere"):
        answer = await Browser(world).post(path, {"note": "x" * BODY_LIMIT})
        assert answer.status_code == 413, path
        assert answer.headers["content-type"].startswith("text/html"), path
        assert "script-src 'self'" in answer.headers["content-security-policy"], path
        assert "A body has at most 262144 bytes" in answer.text, path
    answer = await Browser(world).post("/consoles", {"note": "x" * BODY_LIMIT})
    assert answer.headers["content-type"] == "application/problem+json"


async def test_method_that_no_page_answers_is_refused_with_a_page(world: World) -> None:
    answer = await Browser(world).post("/console/leads", {})
    assert (answer.status_code, answer.headers["content-type"][:9]) == (405, "text/html")
    assert "This path answers GET" in answer.text


@pytest.mark.parametrize("letter", ["\u0444", "\u6f22", "\U0001f600"], ids=["two bytes", "three bytes", "four bytes"])
async def test_draft_of_the_announced_length_is_checked_in_every_script(world: World, letter: str) -> None:
    browser = await signed_in(world, "marketing")
    csrf = csrf_in(await browser.get(DRAFT))
    head = f"{AGREEMENT.strip()}\n# "
    longest = head + letter * (DRAFT_CHARS_MAX - len(head))
    answer = await browser.post(DRAFT, {"csrf": csrf, "file": "agreement", "text": longest})
    assert answer.status_code == 200, answer.text[-400:]
    assert "The draft is correct." in answer.text

    answer = await browser.post(DRAFT, {"csrf": csrf, "file": "agreement", "text": f"{longest}{letter}"})
    assert answer.status_code == 413
    assert "The draft has more than 131,072 characters" in answer.text
    answer = await browser.post(DRAFT, {"csrf": csrf, "text": letter * DRAFT_BYTES_MAX})
    assert (answer.status_code, answer.headers["content-type"][:9]) == (413, "text/html")


async def test_draft_with_the_line_ends_of_browsers_is_read_to_its_end(world: World) -> None:
    browser = await signed_in(world, "marketing")
    csrf = csrf_in(await browser.get(DRAFT))
    head, last = AGREEMENT.strip(), "unknown_at_the_end: 1"
    lines = (DRAFT_CHARS_MAX - len(head) - len(last) - 2) // 2
    draft = f"{head}\n" + "#\n" * lines + last
    number = draft.count("\n") + 1
    answer = await browser.post(DRAFT, {"csrf": csrf, "text": draft.replace("\n", "\r\n")})
    assert answer.status_code == 200
    assert f"agreement.yaml:{number}:1" in answer.text
    assert f'<span class="n">{number}</span> <mark>u</mark>nknown_at_the_end' in answer.text
