"""Problems: each title has a fixed identifier, and each problem can be encoded."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from firsthour.runtime.http.problem import TITLES, TYPES, Problem, problem_response

ROOT = Path(__file__).parents[4]


def titles() -> Iterator[str]:
    """Return every literal title of a problem in production code."""
    for file in [*(ROOT / "firsthour").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        text = file.read_text()
        if "Problem(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                for title in node.args[1:2]:
                    if isinstance(title, ast.Constant) and title.value:
                        yield str(title.value)


def test_every_title_has_an_identifier() -> None:
    used = set(titles())
    assert len(used) > 20
    assert used <= TYPES.keys()
    assert set(TITLES.values()) <= TYPES.keys()


def test_identifiers_are_unique() -> None:
    assert len(set(TYPES.values())) == len(TYPES)


def test_unknown_title_has_the_identifier_of_its_status() -> None:
    assert Problem(409, "No such title").type == "urn:firsthour:problem:conflict"
    assert Problem(418, "No such title").type == "urn:firsthour:problem:problem"


@given(text=st.text(alphabet=st.characters(codec=None), max_size=20))
def test_problem_with_any_text_can_be_encoded(text: str) -> None:
    status, headers, body = problem_response(
        Problem(422, "Bad", text, [{"pointer": text, "detail": text}], extensions={"owner": [text]}), "r-12345678"
    )
    members = json.loads(body)
    assert (status, members["status"], headers["content-type"]) == (422, 422, "application/problem+json")


def test_extensions_cannot_replace_standard_members() -> None:
    assert Problem(409, "X", extensions={"status": 200, "owner": "ana"}).members("r")["status"] == 409
