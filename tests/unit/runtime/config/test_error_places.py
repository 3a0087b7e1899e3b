"""Every kind of mistake in the content of a configuration file is reported at its exact position, with a remedy."""

import pytest

from tests.unit.runtime.config.harness import ConfigHarness

A, T, S = "agreement.yaml", "team.yaml", "sources.yaml"

HOOK = """
  - id: calls
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, secrets: [{env: CALLS}]}
    events:
      - {type: touch.recorded, id: uuid, email: who.email, data: {channel: "'phone'"}}
"""
LIFECYCLE = """
lifecycle:
  statuses: {new: marketing, nurturing: marketing, qualified: sales, assigned: sales, accepted: sales, working: sales, \
opted-out: nobody}
  transitions:
    - {from: [new, nurturing], to: qualified, by: system}
    - {from: any, to: opted-out, by: anyone}
"""

CASES = [
    # fields
    (A, "version: 1", "# pasted\u2028from\u2029a\u0085page\nversion: «2", "`2` is not allowed here; write 1"),
    (A, "rearm_below: 35", "«rearm_bellow: 35", "`rearm_bellow` is not a field here; did you mean `rearm_below`?"),
    (A, "    half_life: 14d", "    «halflife: 14d", "did you mean `half_life`?"),
    (A, "version: 1", "version: «2", "`2` is not allowed here; write 1"),
    (A, "version: 1", "version: «'1'", "`1` in quotes is text; remove the quotes"),
    (A, "    half_life: 14d", "    half_life: «14", "`14` is not a duration; write a number and a unit"),
    (A, "    half_life: 14d", "    half_life: «0d", "`30m`"),
    (A, "at_most: {times: 2, per: 30d}", "at_most: {times: «2.5, per: 30d}", "`2.5` is not a whole number"),
    (
        A,
        "at_most: {times: 2, per: 30d}",
        "at_most: {times: «0, per: 30d}",
        "`0` is out of range; give a number at least 1",
    ),
    (A, "at_most: {times: 2, per: 30d}", "at_most: «{times: 2}", "`per` is missing; add `per:`"),
    (A, "points: 35", "points: «.inf", "`inf` is not a finite number"),
    (A, "points: 35", 'points: «"35"', "remove the quotes"),
    (A, "{A: 75, B: 50, C: 25}", "«{A: 75, B: 50, C: 60}", "do not fall"),
    (
        A,
        "on: trial.started",
        "on: «trial.startd",
        "`trial.startd` is not a type of event; did you mean `trial.started`?",
    ),
    (A, "name: Our first agreement", "name: «[a]", "a list is not text; write one text"),
    (A, "suppress:", "suppress: «none\nholds:", "`none` is not a list"),
    (A, "rearm_below: 35", "rearm_below: 35\nsigned: {sales: {by: Ada, on: «yesterday}}", "`yesterday` is not a day"),
    # conditions
    (A, "{company.employees: {between: [100, 5000]}}", "{«company.employes: 5}", "did you mean `company.employees`?"),
    (
        A,
        "{company.employees: {between: [100, 5000]}}",
        "{«shoe_size: 5}",
        "write a field of your own as `custom.<name>`",
    ),
    (A, "{company.employees: {between: [100, 5000]}}", "{title: {«gte: 5}}", "does not work on `title`, which is text"),
    (A, "{company.employees: {between: [100, 5000]}}", "{title: {«hasword: a}}", "did you mean `has_word`?"),
    (
        A,
        "{company.employees: {between: [100, 5000]}}",
        "{title: «5}",
        "`title` takes text, and `5` is not; put it in quotes",
    ),
    (
        A,
        "{company.employees: {between: [100, 5000]}}",
        "{company.employees: «many}",
        "takes a number, and `many` is not",
    ),
    (
        A,
        "{company.employees: {between: [100, 5000]}}",
        "{company.employees: {between: «[9, 1]}}",
        "ends below its start",
    ),
    (A, "{company.employees: {between: [100, 5000]}}", "{company.employees: {in: [1, «x]}}", "`x` is not"),
    (A, "{company.employees: {between: [100, 5000]}}", "{consent: «no}", "takes true or false, and `no` is not"),
    (A, "{company.employees: {between: [100, 5000]}}", "{title:« }", "`{exists: false}`"),
    (A, "{company.employees: {between: [100, 5000]}}", "{title: «[a, b]}", "write `title: {in: [...]}`"),
    (A, "{company.employees: {between: [100, 5000]}}", "{any: «{title: a}}", "write `any: [{...}, {...}]`"),
    (A, "{company.employees: {between: [100, 5000]}}", "«everyone", "`everyone` is not a condition"),
    (A, "not: {email.kind: disposable}}", "not: {«email.kin: disposable}}", "did you mean `email.kind`?"),
    # names within the agreement
    (A, "        on: webinar.attended", "        on: «cost.recorded", "`cost.recorded` is about no lead"),
    (A, "    urgency: hot", "    urgency: «hott", "`hott` is not an urgency of `response`; did you mean `hot`?"),
    (A, "    - {at: 25m,", "    - {at: «10m,", "this rung (10m) comes before the one above it"),
    (A, "{at: 35m, reassign: true}", "«{at: 35m}", "give one of `page:` and `reassign: true`"),
    (
        A,
        "{at: 15m, page: owner, by: [inbox]}",
        "{at: 15m, page: owner, by: [«fax]}",
        "`fax` is not a channel; use one of: slack, email, inbox",
    ),
    (A, "{at: 15m, page: owner, by: [inbox]}", "{at: 15m, page: «ower}", "did you mean `owner`?"),
    (A, "  hot: {touch_within: 1h}", "  hot: {touch_within: 1h, counted_in: «berlin}", "`berlin` is not a calendar"),
    (A, "  reassign_at_most: 1", "  quiet_hours: {outside: «berlin}", "`berlin` is not a calendar"),
    (A, "  reassign_at_most: 1", "  quiet_hours: {but: [hot, «hott]}", "`hott` is not an urgency of `response`"),
    (A, "  budget: {pages: 6, per: 10m}", "  budget: {pages: «0, per: 10m}", "1"),
    (A, "  remind: {every: 2h, page: manager, by: [inbox]}", "  remind:«", "an empty value is not a mapping"),
    # names that stand twice
    (
        A,
        "{at: 0m, page: owner, by: [inbox]}",
        "{at: 0m, page: owner, by: [inbox, «inbox]}",
        "the channel `inbox` occurs twice",
    ),
    (
        A,
        "page: manager, by: [inbox]}              # told",
        "page: manager, by: [email, slack, «email]}  # told",
        "occurs twice",
    ),
    (A, "  budget: {pages: 6, per: 10m}", "  quiet_hours: {but: [hot, «hot]}", "the urgency `hot` occurs twice"),
    # characters that an escape can write
    (
        A,
        "name: Our first agreement",
        'name: «"a\\0b"',
        "this text has the character U+0000, which is no text; remove it",
    ),
    (T, "name: Tom Okoye", 'name: «"Tom \\uD83D"', "U+D83D"),
    (
        A,
        "  hot: {touch_within: 1h}",
        '  hot: {touch_within: 1h}\n  «"soon\\e": {touch_within: 1h}',
        "this name has the character U+001B",
    ),
    (A, "  reassign_at_most: 1", "  «reasign_at_most: 1", "did you mean `reassign_at_most`?"),
    (A, "      to: account.owner", "      to: «account.ower", "did you mean `account.owner`?"),
    (A, "    - name: Everybody else", "    - name: «Large companies", "occurs twice"),
    (A, "  - name: Asked for us\n", "  - name: «Asked for us, and fits\n", "the line `Asked for us, and fits` occurs"),
    (A, "      pool: enterprise", "      pool: «enterprize", "is not a pool of team.yaml; did you mean `enterprise`?"),
    (A, "\nsuppress:", LIFECYCLE.replace("to: qualified", "to: «qualifed") + "\nsuppress:", "mean `qualified`?"),
    (A, "\nsuppress:", LIFECYCLE.replace("[new, ", "[«nwe, ") + "\nsuppress:", "did you mean `new`?"),
    (A, "\nsuppress:", LIFECYCLE.replace("by: anyone", "by: «anyon") + "\nsuppress:", "did you mean `anyone`?"),
    (A, "\nsuppress:", LIFECYCLE.replace("by: anyone", "by: anyone, as: «refuse") + "\nsuppress:", "not allowed here"),
    (A, "\nsuppress:", LIFECYCLE.replace("statuses: {new:", "«statuses: {nwe:") + "\nsuppress:", "`new` is missing"),
    (A, "\nsuppress:", LIFECYCLE.replace("new: marketing", "new: «markting") + "\nsuppress:", "mean `marketing`?"),
    (A, "\nsuppress:", "\npromises: {sales: [«{share: 0.9}]}\nsuppress:", "this is not a promise of Sales"),
    (A, "\nsuppress:", "\npromises: {sales: [{accept_within: 1h, share: «95}]}\nsuppress:", "out of range"),
    (A, "\nsuppress:", "\ncalendars: {b: {timezone: «Europe/Berln}}\nsuppress:", "is not a time zone"),
    (
        A,
        "\nsuppress:",
        "\ncalendars: {b: {timezone: UTC, holidays: «XX}}\nsuppress:",
        "the public holidays of `XX` are not known",
    ),
    (
        A,
        "\nsuppress:",
        "\ncalendars: {b: {timezone: UTC, holidays: «DE-BR}}\nsuppress:",
        "`BR` is not a region of DE; ",
    ),
    (A, "\nsuppress:", "\ncalendars: {b: {timezone: UTC, holidays: «HR-1}}\nsuppress:", "write HR"),
    (A, "\nsuppress:", "\ncalendars: {b: {timezone: UTC, «hours: {mon: []}}}\nsuppress:", "has no working hours"),
    (A, "\nsuppress:", "\ncalendars: {«owner: {timezone: UTC}}\nsuppress:", "`owner` has a meaning of its own"),
    (A, "\nsuppress:", "\ncalendars: {«always: {timezone: UTC}}\nsuppress:", "`always` has a meaning of its own"),
    (
        A,
        "\nsuppress:",
        '\ncalendars: {b: {timezone: UTC, hours: {mon: [«"9-5"]}}}\nsuppress:',
        "is not a span of hours",
    ),
    (
        A,
        "\nsuppress:",
        "\ncalendars: {b: {timezone: UTC, hours: {«mo: []}}}\nsuppress:",
        "is not a day or a span of days",
    ),
    (
        A,
        "\nsuppress:",
        "\nrecycle: [{name: x, from: «wrking, idle: 3d, reason: stalled}]\nsuppress:",
        "is not a status",
    ),
    (
        A,
        "\nsuppress:",
        "\ngoals: [{period: «2026-Q5, revenue: 1, currency: EUR}]\nsuppress:",
        "the wrong form",
    ),
    # the team
    (T, "  - id: tom\n", "  - id: «noor\n", "the rep `noor` occurs twice"),
    (T, "email: tom@ourcompany", "email: «Noor@ourcompany", "the address `Noor@ourcompany.example` occurs twice"),
    (T, "email: tom@ourcompany.example", "email: «tom at home", "write an address such as ana@example.com"),
    (T, "email: tom@ourcompany.example", "email: «töm@ourcompany.example", "letters beyond ASCII"),
    (T, "email: tom@ourcompany.example", "email: «tom@our_company.example", "not a domain"),
    (T, "- {rep: lea, weight: 2}", "- {rep: «leah, weight: 2}", "`leah` is not a rep; did you mean `lea`?"),
    (T, "- {rep: lea, weight: 2}", "- {rep: lea, weight: «1001}", "give a number at most 1000"),
    (T, "- {rep: lea, weight: 2}", "- {rep: lea, weight: «0}", "give a number at least 1"),
    (T, "      - {rep: lea}", "      - {rep: «tom}", "the member `tom` occurs twice"),
    (T, "  - id: growth", "  - id: «enterprise", "the pool `enterprise` occurs twice"),
    (T, "name: Longstanding Customer Ltd, owner: lea", "owner: «leo", "did you mean `lea`?"),
    (T, "    capacity: {open: 20}", "    capacity: {open: «-1}", "give a number at least 0"),
    (T, "    capacity: {open: 20}", "    active: «0", "`0` is neither true nor false"),
    (T, "    capacity: {open: 20}", "    away: [«{from: 2026-12-24, to: 2026-12-20}]", "ends before it starts"),
    (T, "    capacity: {open: 20}", "    away: [{from: 2026-12-24, to: «soon}]", "`soon` is not a day"),
    (
        T,
        "    capacity: {open: 20}",
        "    away: [{from: 2026-12-24, to: 2026-12-28, cover: «lea}]",
        "`lea` cannot cover their own absence; name another rep",
    ),
    (
        T,
        "    capacity: {open: 20}",
        "    away: [{from: 2026-12-24, to: «9999-12-31T23:00:00-05:00}]",
        "`9999-12-31T23:00:00-05:00` is not a day",
    ),
    (T, "    capacity: {open: 20}", "    calendar: «berlin", "`berlin` is not a calendar of agreement.yaml"),
    (T, "    languages: [en, fr, pt]", "    manager: «inez", "`inez` is not a rep; did you mean `ines`?"),
    (T, "    languages: [en, fr, pt]", "    manager: «ines", "`ines` is their own manager"),
    # the sources
    (S, "    honeypot: _hp", "    «honypot: _hp", "did you mean `honeypot`?"),
    (
        S,
        "    kind: form",
        "    kind: form\n    «verify: {}",
        "`verify` does not apply to `form`; remove it: it is an option of `webhook`, `preset`",
    ),
    *(
        (
            S,
            "sources:\n",
            f"sources:\n  - id: x\n    kind: kafka\n    producers: [/x]\n    types: [custom.*]\n    «{name}: 1\n",
            f"`{name}` does not apply to `kafka`; remove it: it is an option of",
        )
        for name in ("verify", "format", "fetch", "handshake", "answer", "answers", "honeypot", "fields", "redirect")
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - id: x\n    kind: kafka\n    producers: [/x]\n    events:\n      - {type: custom.x, email: e, «client: ip}\n",
        "`client` does not apply to `kafka`; remove it",
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - «id: x\n    kind: kafka\n    producers: [/x]\n",
        "`types` is missing; add `types:` with the types that they may send, or `events:`",
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - «id: x\n    kind: kafka\n    producers: [/x]\n    types: [custom.*]\n    events: [{type: touch.recorded, email: e}]\n",
        "`events` makes touch.recorded, which `types` does not list; add it to `types`",
    ),
    (S, '"http://localhost:3000"', "«http://www.ours.example", "not a web origin"),
    (S, '"http://localhost:3000"', "«https://www.ours.example/", "not a web origin"),
    (S, '"http://localhost:3000"', "«https://bücher.example:8443", "send it, https://xn--bcher-kva.example:8443"),
    (S, "    honeypot: _hp", "    redirect: «javascript:alert(1)", "write a full https:// address"),
    (S, "    honeypot: _hp", "    quota: «{}", "the quota limits nothing; add `per_minute: 600`"),
    (S, "    honeypot: _hp", "    quota: {per_minute: «0}", "`0` is out of range; give a number at least 1"),
    (S, "    honeypot: _hp", "    quota: {«per_minut: 6}", "did you mean `per_minute`?"),
    (
        S,
        "    honeypot: _hp",
        "    quota: {share_of_pool: «0}",
        "no lead of this source would get an owner; write a share",
    ),
    (S, "    honeypot: _hp", "    quota: {share_of_pool: «50}", "`50` is not a share of a pool; write a share above 0"),
    (S, "    honeypot: _hp", "    quota: {share_of_pool: «half}", "is not a number"),
    (
        S,
        "sources:\n",
        "sources:\n  - «id: crm\n    kind: api\n    types: [lead.updated]\n    quota: {share_of_pool: 0.5}\n",
        "events of an API key carry the name of the key; remove it",
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - «id: x\n    kind: frm\n",
        "write `kind: form`, `kind: webhook`, `kind: api`, `kind: kafka` or `preset: <vendor>`",
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - id: crm\n    kind: api\n    types: [«touch.made]\n",
        "did you mean `touch.recorded`?",
    ),
    (S, "sources:\n", "sources:\n  - «id: crm\n    kind: api\n", "types"),
    (S, "sources:\n", "sources:\n  - «id: shop\n    kind: kafka\n    types: [lead.updated]\n", "producers"),
    (
        S,
        "sources:\n",
        (
            "sources:\n  - {id: a, kind: kafka, producers: [/shop], types: [lead.updated]}\n"
            "  - {id: b, kind: kafka, producers: [/x, «/shop], types: [lead.updated]}\n"
        ),
        "the producer `/shop` occurs twice",
    ),
    (
        S,
        "sources:\n",
        (
            "sources:\n  - «id: x\n    kind: webhook\n    verify: {scheme: hmac-sha1, header: X, secrets: [{env: X}]}\n"
            "    types: [page.viewed]\n    events: [{type: touch.recorded, email: a}]\n"
        ),
        "`events` makes touch.recorded, which `types` does not list; add it to `types`",
    ),
    (S, "sources:\n", "sources:\n  - «{id: x, preset: hubspt}\n", "did you mean `hubspot`?"),
    (S, "  - id: website", HOOK.strip("\n") + "\n  - id: «calls", "the source `calls` occurs twice"),
    (S, "sources:", "sources:" + HOOK.replace("hmac-sha256", "«hmac-md5").rstrip(), "is not a scheme"),
    (S, "sources:", "sources:" + HOOK.replace("{scheme: hmac-sha256, ", "«{").rstrip(), "`scheme` is missing"),
    (S, "sources:", "sources:" + HOOK.replace("header:", "«haeder:").rstrip(), "did you mean `header`?"),
    (
        S,
        "sources:",
        "sources:" + HOOK.replace("[{env: CALLS}]", "[«hunter2]").rstrip(),
        "it takes the fields env, file",
    ),
    (S, "sources:", "sources:" + HOOK.replace("{env: CALLS}", "«{env: A, file: b}").rstrip(), "has one place"),
    (S, "sources:", "sources:" + HOOK.replace("who.email", "«who..email").rstrip(), "this is not JMESPath"),
    (S, "sources:", "sources:" + HOOK.replace("who.email", "«lowr(who)").rstrip(), "did you mean `lower`"),
    (S, "sources:", "sources:" + HOOK.replace("who.email", '«"lower(b, c)"').rstrip(), "`lower` has 2 arguments"),
    (S, "sources:", "sources:" + HOOK.replace("\"'phone'\"", '«"\'phone"').rstrip(), "this is not JMESPath"),
    (S, "sources:", "sources:" + HOOK.replace("channel:", "«company.nam:").rstrip(), "mean `company.name`?"),
    (
        S,
        "sources:",
        "sources:" + HOOK.replace("- {type", "- «{type").replace("email: who.email, ", "").rstrip(),
        "no identifier of a person",
    ),
    (S, "newsletter]", "«newsletter, newsletter]".replace("«newsletter, ", "newsletter, «"), "occurs twice"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), CASES)
def test_mistake_is_reported_at_its_line_and_column(
    harness: ConfigHarness, name: str, old: str, new: str, message: str
) -> None:
    harness.assert_problem(name, old, new, message)


def test_rule_with_pool_and_owner_is_refused(harness: ConfigHarness) -> None:
    harness.change(A, "      within: 90d", "      within: 90d\n      pool: growth")
    assert harness.complaints()


def test_secret_in_the_wrong_place_is_not_quoted(harness: ConfigHarness) -> None:
    harness.change(S, "sources:", "sources:" + HOOK.replace("[{env: CALLS}]", "[hunter2]").rstrip())
    assert "hunter2" not in "\n".join(harness.complaints())


def test_mistakes_of_all_files_are_reported_at_once_in_order(harness: ConfigHarness) -> None:
    first = harness.change(A, "points: 35", "points: «x")
    second = harness.change(A, "      pool: enterprise", "      pool: «nowhere")
    third = harness.change(T, "- {rep: lea, weight: 2}", "- {rep: «leah, weight: 2}")
    fourth = harness.change(S, "    honeypot: _hp", "    «honypot: _hp")
    assert [line.split(": ")[0] for line in harness.complaints()] == [first, second, third, fourth]


def test_names_of_an_unreadable_file_are_not_reported_as_unknown(harness: ConfigHarness) -> None:
    place = harness.change(T, "reps:", "«reps: [")
    complaints = harness.complaints()
    assert len(complaints) == 1
    assert complaints[0].startswith(str(place).rsplit(":", 2)[0])


def test_missing_file_is_reported_with_the_command_that_creates_it(harness: ConfigHarness) -> None:
    (harness.directory / T).unlink()
    (complaint,) = harness.complaints()
    assert complaint.startswith(f"{harness.directory / T}:1:1: there is no such file; `firsthour init DIR`")


def test_directory_instead_of_a_file_is_reported(harness: ConfigHarness) -> None:
    (harness.directory / T).unlink()
    (harness.directory / T).mkdir()
    (complaint,) = harness.complaints()
    assert "cannot be read" in complaint


def test_control_sequence_in_a_message_is_escaped(harness: ConfigHarness) -> None:
    harness.change(A, "rearm_below: 35", '"\\e[31m\\uD800": 35')
    (complaint,) = harness.complaints()
    assert complaint.isprintable()
