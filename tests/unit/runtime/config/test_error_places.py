"""Every kind of mistake in a configuration file is told at its exact place, with a remedy."""

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
    # the YAML itself
    (A, "version: 1", "version: 1\n«version: 1", "`version` occurs twice, first in line 7; keep one of them"),
    (A, "  fit:\n", "«\tfit:\n", "a tab is not allowed here; indent with spaces"),
    (A, "{A: 75, B: 50, C: 25}", "{A: [75, B: 50, C: 25«}", "this is not YAML: while parsing a flow sequence"),
    (A, "version: 1", "version: «!!python/object:os.system 1", "is a YAML tag"),
    (A, "version: 1", "version: «!mine 1", "`!mine` is a YAML tag; remove it"),
    (A, "version: 1", "version: 1\n? «[a, b]\n: c", "a key is not a single word"),
    (
        A,
        "because: Asked to speak with us",
        'because: «"Asked to speak with us',
        '`"` is not closed on this line; add `"`',
    ),
    (
        A,
        "because: Asked to speak with us",
        "because: «'Asked to speak with us",
        "`'` is not closed on this line; add `'`",
    ),
    (
        A,
        "  - because: Our own people\n",
        '  - because: «"Our own people\n    x: ["a", b]\n',
        "is not closed on this line",
    ),
    (A, "because: Asked to speak with us", "«because Asked to speak", "the colon after `because` is missing; write"),
    (A, "version: 1", "«version 1", "the colon after `version` is missing; write `version: ...`"),
    (A, "  engagement:\n", "  «engagement\n", "the colon after `engagement` is missing"),
    (A, "- points: 60", "- «points 60", "the colon after `points` is missing"),
    (
        A,
        "    when: {email.domain: {in: [our",
        "    when« {email.domain: {in: [our",
        "the colon after `when` is missing",
    ),
    (A, "version: 1", "version«:1", "this `:` has no space after it; write `name: value`"),
    (A, "when: {email.kind: business}", "when: {«email.kind:business}", "has no space after it"),
    (A, "    half_life: 14d", "    half_life«\uff1a14d", "this is not the colon of YAML"),
    (A, "    half_life: 14d", "  «\u00a0 half_life: 14d", "(U+00A0, no-break space); write a plain space"),
    (A, "    half_life: 14d", "    half_life:«\u00a014d", "there is an invisible character here"),
    (A, "    half_life: 14d", "    half«\u200b_life: 14d", "this name has an invisible character (U+200B"),
    (A, "- points: 60", "-«\u2003points: 60", "there is an invisible character here"),
    (A, "when: {email.kind: business}", "when: «{email.kind: business", "`{` is not closed; add `}`"),
    (A, "because: Asked to speak with us", "because: Asked«: to speak", "this line has a second `:`"),
    (A, "because: Asked to speak with us", "because: «@sales asked", "cannot begin with `@`; put the value in quotes"),
    (A, "because: Asked to speak with us", 'because: "Asked" «to speak', "text follows the closing quote"),
    (A, "    half_life: 14d", "   «half_life: 14d", "this line is not indented like the lines above"),
    (A, "version: 1", "version: 1\nx: " + "[" * 60 + "«" + "[" * 19_940, "nested deeper than 60 levels; shorten it"),
    # fields
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
    (A, "name: Our first agreement", "name: «[a]", "a list is not text; put it in quotes"),
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
    # what the agreement says of itself
    (A, "        on: webinar.attended", "        on: «cost.recorded", "`cost.recorded` is about no lead"),
    (A, "    urgency: hot", "    urgency: «hott", "`hott` is not an urgency of `response`; did you mean `hot`?"),
    (A, "    - {at: 25m,", "    - {at: «10m,", "this rung (10m) comes before the one above it"),
    (A, "{at: 35m, reassign: true}", "«{at: 35m}", "give one of `page:` and `reassign: true`"),
    (A, "{at: 15m, page: owner, by: [inbox]}", "{at: 15m, page: owner, by: [«fax]}", "`fax` is not allowed here"),
    (A, "{at: 15m, page: owner, by: [inbox]}", "{at: 15m, page: «ower}", "did you mean `owner`?"),
    (A, "  hot: {touch_within: 1h}", "  hot: {touch_within: 1h, counted_in: «berlin}", "`berlin` is not a calendar"),
    (A, "  reassign_at_most: 1", "  «reasign_at_most: 1", "did you mean `reassign_at_most`?"),
    (A, "      to: account.owner", "      to: «account.ower", "did you mean `account.owner`?"),
    (A, "      within: 90d", "      within: 90d\n      pool: growth", None),
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
        "`verify` is not a field here; use one of: id, kind, forms",
    ),
    (S, '"http://localhost:3000"', "«http://www.ours.example", "not a web origin"),
    (S, '"http://localhost:3000"', "«https://www.ours.example/", "not a web origin"),
    (S, '"http://localhost:3000"', "«https://bücher.example:8443", "send it, https://xn--bcher-kva.example:8443"),
    (S, "    honeypot: _hp", "    redirect: «javascript:alert(1)", "write a full https:// address"),
    (
        S,
        "sources:\n",
        "sources:\n  - «id: x\n    kind: frm\n",
        "write `kind: form`, `kind: webhook`, `kind: api` or `preset: <vendor>`",
    ),
    (
        S,
        "sources:\n",
        "sources:\n  - id: crm\n    kind: api\n    types: [«touch.made]\n",
        "did you mean `touch.recorded`?",
    ),
    (S, "sources:\n", "sources:\n  - «id: crm\n    kind: api\n", "types"),
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


@pytest.mark.parametrize(("name", "old", "new", "said"), CASES)
def test_a_mistake_is_told_at_its_line_and_column(
    harness: ConfigHarness, name: str, old: str, new: str, said: str | None
) -> None:
    place = harness.change(name, old, new)
    complaints = harness.complaints()
    if place is None:
        assert len(complaints) >= 1
        return
    here = [line for line in complaints if line.startswith(f"{place}: ")]
    assert here, f"expected {place}, got:\n" + "\n".join(complaints)
    assert all("; " in line for line in complaints), "each says what would be right"
    if said is not None:
        assert said in here[0]


def test_a_secret_written_into_the_file_by_mistake_is_not_repeated(harness: ConfigHarness) -> None:
    harness.change(S, "sources:", "sources:" + HOOK.replace("[{env: CALLS}]", "[hunter2]").rstrip())
    assert "hunter2" not in "\n".join(harness.complaints())


def test_all_mistakes_of_all_files_are_told_at_once_and_in_their_order(harness: ConfigHarness) -> None:
    first = harness.change(A, "points: 35", "points: «x")
    second = harness.change(A, "      pool: enterprise", "      pool: «nowhere")
    third = harness.change(T, "- {rep: lea, weight: 2}", "- {rep: «leah, weight: 2}")
    fourth = harness.change(S, "    honeypot: _hp", "    «honypot: _hp")
    assert [line.split(": ")[0] for line in harness.complaints()] == [first, second, third, fourth]


def test_a_file_that_cannot_be_read_does_not_make_its_names_unknown(harness: ConfigHarness) -> None:
    place = harness.change(T, "reps:", "«reps: [")
    complaints = harness.complaints()
    assert len(complaints) == 1
    assert complaints[0].startswith(str(place).rsplit(":", 2)[0])


def test_words_of_yaml_1_1_are_words(harness: ConfigHarness) -> None:
    harness.change(A, "language: fr", "custom.x: {in: [NO, on, off, yes]}, country: NO")
    rule = next(rule for rule in harness.load().agreement.routing.rules if rule.name == "French speakers")
    assert "'NO', 'on', 'off', 'yes'" in str(rule.when)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "1:1: the file is empty; `firsthour init DIR`"),
        (b"# nothing yet\n", "1:1: the file is empty"),
        (b"version: 1\nname: caf\xe9\n", "2:10: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"- a\n", "1:1: the file is not a mapping"),
        (b"version: 1\x07\n", "1:11: a control character is not allowed here"),
        (b"a: 1\n---\nb: 2\n", "2:1: this is not YAML"),
        (b"a: " + b"[" * 5_000, "nested deeper than 60 levels"),
        (b"a: " + b"[" * 80 + b"]" * 80, "nested deeper than 60 levels"),
        (b"a: &a [x, x, x, x, x, x, x, x]\n" + b"".join(
            b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c]\n" % (c, c, *[c - 1] * 6) for c in range(ord("b"), ord("k"))
        ), "has more than 100000 values"),
        (b"#" * (1 << 20) + b"\n", "1:1: the file is larger than 1 MiB"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_agreement_is_told_apart(harness: ConfigHarness, raw: bytes, said: str) -> None:
    (harness.directory / A).write_bytes(raw)
    (complaint,) = harness.complaints()
    assert said in complaint


def test_a_missing_file_is_named(harness: ConfigHarness) -> None:
    (harness.directory / T).unlink()
    (complaint,) = harness.complaints()
    assert complaint.startswith(f"{harness.directory / T}:1:1: there is no such file; `firsthour init DIR`")


def test_a_directory_in_the_place_of_a_file_is_named(harness: ConfigHarness) -> None:
    (harness.directory / T).unlink()
    (harness.directory / T).mkdir()
    (complaint,) = harness.complaints()
    assert "cannot be read" in complaint


def test_what_a_terminal_would_obey_is_shown_as_an_escape(harness: ConfigHarness) -> None:
    harness.change(A, "rearm_below: 35", '"\\e[31m\\uD800": 35')
    (complaint,) = harness.complaints()
    assert complaint.isprintable()
