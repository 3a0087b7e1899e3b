"""The section `channels`, and the names of channels in every `by:`."""

import pytest

from tests.unit.runtime.config.harness import ConfigHarness

END = "\nchannels:\n  teams: {kind: teams, url: {env: TEAMS_WORKFLOW_URL}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nchannels:\n  teams: {kind: teams, url: «'https://x.example/?sig=1'}\n",
            "a secret is not written into this file",
        ),
        ("\nchannels:\n  teams: {kind: «team, url: {env: A}}\n", "`team` is not a kind; did you mean `teams`?"),
        ("\nchannels:\n  teams: «{url: {env: A}}\n", "`kind` is missing"),
        ("\nchannels:\n  «slack: {kind: teams, url: {env: A}}\n", "`slack` is a channel of every installation"),
        ("\nchannels:\n  «My Team: {kind: teams, url: {env: A}}\n", "`My Team` is not a name of a channel"),
        ("\nchannels: «[teams]\n", "a list is not a mapping"),
    ],
)
def test_mistake_in_a_channel_is_reported_at_its_place(harness: ConfigHarness, text: str, message: str) -> None:
    before = (harness.directory / "agreement.yaml").read_text(encoding="utf-8")
    place = harness.write("agreement.yaml", before + text)
    [complaint] = [line for line in harness.complaints() if line.startswith(f"{place}: ")]
    assert message in complaint


def test_unknown_channel_of_a_rung_is_reported_at_its_place(harness: ConfigHarness) -> None:
    harness.write("agreement.yaml", (harness.directory / "agreement.yaml").read_text(encoding="utf-8") + END)
    harness.assert_problem(
        "agreement.yaml",
        "{at: 0m, page: owner, by: [inbox]}",
        "{at: 0m, page: owner, by: [inbox, «taems]}",
        "`taems` is not a channel; did you mean `teams`?",
    )


def test_channel_of_the_agreement_may_be_named_by_a_rung(harness: ConfigHarness) -> None:
    harness.write("agreement.yaml", (harness.directory / "agreement.yaml").read_text(encoding="utf-8") + END)
    harness.change("agreement.yaml", "{at: 0m, page: owner, by: [inbox]}", "{at: 0m, page: owner, by: [teams, email]}")
    assert harness.load().agreement.response.ladder[0].by == ("teams", "email")


def test_more_channels_than_the_limit_are_refused(harness: ConfigHarness) -> None:
    many = "".join(f"  c{n}: {{kind: teams, url: {{env: A}}}}\n" for n in range(21))
    before = (harness.directory / "agreement.yaml").read_text(encoding="utf-8")
    harness.write("agreement.yaml", f"{before}\nchannels:\n{many}")
    assert any("this is too long; keep it within 20" in line for line in harness.complaints())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  sales: «{by: [slack], email: a@acme.example}\n", "`by` names slack, and `slack` is missing"),
        ("  sales: «{by: email, slack: '#sales'}\n", "`by` names email, and `email` is missing"),
        ("  sales: {by: email, email: «nobody}\n", "`nobody` has the wrong form"),
        ("  sales: {by: email, email: «'ü@acme.example'}\n", "no mail can be sent to `ü@acme.example`"),
        ("  sales: {by: [«pager]}\n", "`pager` is not a channel"),
        ("  «sale: {by: inbox}\n", "did you mean `sales`?"),
    ],
)
def test_mistake_in_a_recipient_is_reported_at_its_place(harness: ConfigHarness, text: str, message: str) -> None:
    before = (harness.directory / "agreement.yaml").read_text(encoding="utf-8")
    place = harness.write("agreement.yaml", f"{before}\ntell:\n{text}")
    complaints = harness.complaints()
    assert any(line.startswith(f"{place}: ") and message in line for line in complaints), complaints
