"""`sign_in` of `team.yaml`: mistakes with their place, and the example of the document."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from firsthour.runtime.config.reading import ConfigError, load
from tests.story import sample_config

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/sign-in.md"


def written(directory: Path, section: str) -> Path:
    for name in ("agreement", "sources"):
        sample_config.write(directory, name)
    (directory / "team.yaml").write_text(f"{sample_config.TEAM.strip()}\n{dedent(section).strip()}\n")
    return directory


def test_example_of_the_document_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    sign_in = load(written(tmp_path, example)).team.sign_in
    assert sign_in is not None
    assert [rule.role for rule in sign_in.roles] == ["admin", "manager", "marketing"]


@pytest.mark.parametrize(
    ("section", "place", "words"),
    [
        ("sign_in: {client_id: x}", "10:10", "issuer"),
        ("sign_in:\n  issuer: http://login.example\n  client_id: x", "11:11", "is not the address of a provider"),
        ("sign_in:\n  issuer: https://u@login.example\n  client_id: x", "11:11", "is not the address of a provider"),
        ("sign_in: {issuer: 'https://a.example', client_id: x, scopes: [email]}", "10:", "`openid` is missing"),
        ("sign_in: {issuer: 'https://a.example', client_id: x, lasts: 31d}", "10:", "30 days"),
        ("sign_in: {issuer: 'https://a.example', client_id: x, reps: none}", "10:", "let no person in"),
        (
            "sign_in:\n  issuer: https://a.example\n  client_id: x\n  roles:\n    - {role: owner, has: [a]}",
            "14:14",
            "`owner` is not allowed here",
        ),
        (
            "sign_in:\n  issuer: https://a.example\n  client_id: x\n  roles:\n    - {role: admin, has: []}",
            "14:26",
            "empty",
        ),
        ("sign_in:\n  issuer: https://a.example\n  client_id: x\n  client_secret: y", "13:3", "client_secret"),
    ],
    ids=["issuer", "http", "user", "scopes", "lasts", "nobody", "role", "values", "secret"],
)
def test_mistake_is_reported_at_its_place(tmp_path: Path, section: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as failure:
        load(written(tmp_path, section))
    (line,) = str(failure.value).splitlines()
    assert f"team.yaml:{place}" in line
    assert words in line
