"""Checks of webhooks in `sources.yaml`: the replay of captured deliveries, and facts that only FirstHour may state."""

import pytest

from firsthour.runtime.config.reading import ConfigError
from schemas.sources import FormSource
from tests.unit.runtime.config.harness import ConfigHarness

SOURCE = """
sources:
  - id: phone
    kind: webhook
    verify: {{scheme: hmac-sha256, header: X-Signature, secrets: [{{env: PHONE_SECRET}}]{verify}}}
    events:
      - {{type: custom.call, email: email{event}}}
"""


def replay_warnings(harness: ConfigHarness, verify: str = "", event: str = "") -> list[str]:
    harness.write("sources.yaml", SOURCE.format(verify=verify, event=event))
    return [warning for warning in harness.load().warnings if "captured delivery" in warning]


def test_webhook_without_time_causes_a_warning_with_remedy(harness: ConfigHarness) -> None:
    [warning] = replay_warnings(harness)
    assert "sources.yaml:7:9: this event has no time" in warning
    assert "map `time`" in warning
    assert "`timestamp_header`" in warning


@pytest.mark.parametrize(("verify", "event"), [(", timestamp_header: X-Time", ""), ("", ", time: ended_at")])
def test_webhook_with_time_causes_no_warning(harness: ConfigHarness, verify: str, event: str) -> None:
    assert replay_warnings(harness, verify, event) == []


def test_pause_for_the_prospect_is_named_where_any_attempt_stops_the_clock(harness: ConfigHarness) -> None:
    pauses = "  pauses: {waiting_for_prospect: {at_most: 5d}}\n"
    harness.change("agreement.yaml", "  reassign_at_most: 1\n", f"  reassign_at_most: 1\n{pauses}")
    (warning,) = harness.load().warnings
    assert "it never waits for the prospect; write `stopped_by: conversation`" in warning
    harness.change("agreement.yaml", pauses, f"{pauses}  stopped_by: conversation\n")
    assert harness.load().warnings == ()


def test_manager_who_has_left_is_named_once(harness: ConfigHarness) -> None:
    harness.change("team.yaml", "languages: [en, fr, pt]", "languages: [en, fr, pt]\n    active: false")
    (warning,) = harness.load().warnings
    assert warning.endswith("`ines` has left (`active: false`) and gets no pages; name another rep")


def test_rep_without_a_calendar_is_named_if_quiet_hours_follow_it(harness: ConfigHarness) -> None:
    quiet = "  reassign_at_most: 1\n  quiet_hours: {but: [hot]}\n"
    harness.change("agreement.yaml", "  reassign_at_most: 1\n", quiet)
    (warning,) = harness.load().warnings
    assert "has no calendar, so no hours are quiet for this person; add `calendar:`" in warning


def test_rep_without_a_calendar_is_named_if_promises_count_in_it(harness: ConfigHarness) -> None:
    harness.change("agreement.yaml", "  hot: {touch_within: 1h}", "  hot: {touch_within: 1h, counted_in: owner}")
    (warning,) = harness.load().warnings
    assert "has no calendar, so every minute counts" in warning
    assert warning.endswith("; add `calendar:`")


@pytest.mark.parametrize("fact", ["account.owner", "status", "email.kind", "total", "previous_owner"])
def test_mapping_to_a_fact_that_only_firsthour_states_is_refused_with_remedy(harness: ConfigHarness, fact: str) -> None:
    with pytest.raises(ConfigError, match=r"only FirstHour may state `.*`; map it to `custom\."):
        replay_warnings(harness, event=f", time: t, data: {{{fact}: x}}")


def test_slack_id_of_two_reps_is_refused(harness: ConfigHarness) -> None:
    harness.change("team.yaml", "  - id: tom\n", "  - id: tom\n    slack: U012AB3CD\n")
    assert harness.complaints() == []
    harness.change("team.yaml", "  - id: noor\n", "  - id: noor\n    slack: U012AB3CD\n")
    [complaint] = harness.complaints()
    assert "the Slack id `U012AB3CD` occurs twice" in complaint


FORM = """
sources:
  - id: website
    kind: form
    forms: [demo-request]
    fields: {fields}
"""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{«employes: size}", "`employes` is not a field that a form can fill; did you mean `company.employees`?"),
        ("{«crm_id: id}", "`crm_id` is not a field that a form can fill"),
        ("{«fit: points}", "`fit` is not a field that a form can fill"),
        ("{phone: mobile, custom.mobile: «mobile}", "this field of the form already fills another field; name it once"),
        ("{phone: «''}", "empty"),
    ],
)
def test_chosen_name_of_a_form_field_is_checked(harness: ConfigHarness, fields: str, message: str) -> None:
    place = harness.write("sources.yaml", FORM.replace("{fields}", fields))
    [complaint] = harness.complaints()
    assert complaint.startswith(f"{place}: ")
    assert message in complaint


def test_chosen_names_of_form_fields_are_read(harness: ConfigHarness) -> None:
    harness.write("sources.yaml", FORM.replace("{fields}", "{phone: Handy, employees: Size, custom.plan: Paket}"))
    [source] = harness.load().sources.sources
    assert isinstance(source, FormSource)
    assert source.fields == {"phone": "Handy", "company.employees": "Size", "custom.plan": "Paket"}


@pytest.mark.parametrize(
    ("event", "warned"),
    [
        ("{type: custom.x, time: at, email: mail, when: 'kind == \"lead\"'}", True),
        ("{type: custom.x, time: at, email: mail, when: 'kind == \"new-lead\"'}", True),
        ("{type: custom.x, time: at, email: mail, data: {form: '\"demo\"'}}", True),
        ("{type: custom.x, time: at, email: mail, data: {form: '\"form-submissions\"[0]'}}", False),
        ("{type: custom.x, time: at, email: mail, when: \"kind == 'lead'\"}", False),
    ],
)
def test_word_that_is_written_as_a_name_is_warned_of(harness: ConfigHarness, event: str, warned: bool) -> None:
    verify = "{scheme: header, header: X-Key, secrets: [{env: KEY}]}"
    harness.write("sources.yaml", f"sources:\n  - {{id: a, kind: webhook, verify: {verify}, events: [{event}]}}\n")
    lines = [line for line in harness.load().warnings if "names a field of the body" in line]
    assert len(lines) == warned
    assert all("sources.yaml:2:" in line and "a word is quoted as '" in line for line in lines)


def test_list_whose_only_entry_is_wrong_is_not_said_to_be_empty(harness: ConfigHarness) -> None:
    harness.write(
        "sources.yaml",
        "sources:\n  - {id: a, kind: webhook, verify: {scheme: header, header: 'X Key:', secrets: [{env: KEY}]}, events: []}\n"
        "  - {id: b, kind: form, forms: ['a b']}\n  - {id: c, kind: form, forms: []}\n",
    )
    complaints = [line.partition("sources.yaml:")[2] for line in harness.complaints()]
    assert [line for line in complaints if "this is empty" in line] == ["4:32: this is empty; give at least one"]
    assert [line[:5] for line in complaints] == ["2:61:", "3:33:", "4:32:"]
