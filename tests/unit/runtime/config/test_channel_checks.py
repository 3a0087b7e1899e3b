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


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://crm.example/", "is not a safe web address"),
        ("https://user:word@crm.example/", "is not a safe web address"),
        ("https://crm.example:65536/", "cannot be called; correct host and port"),
        ("https://crm.example:0/", "cannot be called"),
        ("https://[:::::]/", "cannot be called"),
        ("https://crm..example/", "cannot be called"),
        ("https://-/", "cannot be called"),
        (f"https://{'a' * 64}.example/", "cannot be called"),
        ("https://0177.0.0.1/", "cannot be called"),
        ("https://2130706433/", "cannot be called"),
        ("https://crm.example/" + "a" * 2_000, "cannot be called"),
    ],
)
def test_webhook_address_that_cannot_be_called_is_reported_at_its_place(
    harness: ConfigHarness, url: str, message: str
) -> None:
    before = (harness.directory / "agreement.yaml").read_text(encoding="utf-8")
    hook = f"{{kind: webhook, url: «'{url}', secret: {{env: A}}}}"
    place = harness.write("agreement.yaml", f"{before}\nchannels:\n  crm: {hook}\n")
    [complaint] = harness.complaints()
    assert complaint.startswith(f"{place}: ")
    assert message in complaint


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example.:8443/a?b=c",
        "https://10.0.0.5/",
        "https://[2606:2800::1]:443/",
        "http://localhost:9/",
        "https://9to5.example/",
    ],
)
def test_webhook_address_that_can_be_called_is_taken(harness: ConfigHarness, url: str) -> None:
    before = (harness.directory / "agreement.yaml").read_text(encoding="utf-8")
    hook = f"{{kind: webhook, url: '{url}', secret: {{env: A}}}}"
    harness.write("agreement.yaml", f"{before}\nchannels:\n  crm: {hook}\n")
    assert "crm" in harness.load().agreement.channels


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
