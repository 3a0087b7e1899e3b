"""The configuration of the stories: an agreement, a team and sources, with the changes of a story merged in."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

PHONE_SECRET: Final = "a secret the telephone system and we share"
Changes = Mapping[str, Any]
"""Changes to a file. Objects are merged, any other value replaces the old one, and None removes the field."""

AGREEMENT: Final = """
version: 1
name: Acme inbound
scoring:
  fit:
    rules:
      - {points: 40, because: Company of the right size, when: {company.employees: {between: [50, 2000]}}}
      - {points: 30, because: Decides on budget, when: {title: {has_word: [head, director, cto, cfo]}}}
      - {points: -40, because: Free mailbox, when: {email.kind: free}}
      - {points: -100, because: Disposable mailbox, when: {email.kind: disposable}}
  engagement:
    half_life: 14d
    rules:
      - {points: 60, because: Asked for a demo, on: form.submitted, when: {form: demo-request}}
      - {points: 15, because: Downloaded a paper, on: content.downloaded, at_most: {times: 3, per: 30d}}
      - {points: 40, because: Came to a webinar, on: webinar.attended}
      - {points: 5, because: Looked at prices, on: page.viewed, when: {path: {starts_with: /pricing}}, at_most: {times: 5, per: 7d}}
  total: {fit: 0.5, engagement: 0.5}
  grades: {A: 70, B: 40, C: 20}
qualify:
  - {name: hand-raiser, urgency: hot, on: form.submitted, when: {form: {in: [demo-request, contact-sales]}, not: {email.kind: disposable}}}
  - {name: score, urgency: warm, when: {total: {gte: 60}, fit: {gte: 30}}}
rearm_below: 40
routing:
  rules:
    - {name: Account has an owner, when: {account.owner: {exists: true}}, to: account.owner}
    - {name: Came back, when: {previous_owner: {exists: true}}, to: previous_owner, within: 90d}
    - {name: Everyone, pool: everyone}
  never_back_to_same_rep_for: 30d
response:
  hot: {touch_within: 1h, counted_in: always}
  warm: {touch_within: 4h, counted_in: always}
  ladder:
    - {at: 0m, page: owner, by: [slack, email]}
    - {at: 10m, page: owner, by: [slack]}
    - {at: 20m, page: manager, by: [slack, email]}
    - {at: 30m, reassign: true}
  reassign_at_most: 1
suppress:
  - {because: Our own people, when: {email.domain: acme.example}}
  - {because: Competitor, when: {email.domain: {in: [rival.example]}}}
"""

TEAM: Final = """
reps:
  - {id: ana, name: Ana Gomez, email: ana@acme.example, slack: U0ANA, manager: max}
  - {id: bo, name: Bo Lind, email: bo@acme.example, slack: U0BO, manager: max}
  - {id: cy, name: Cy Young, email: cy@acme.example, slack: U0CY, manager: max}
  - {id: max, name: Max Berg, email: max@acme.example, slack: U0MAX}
pools:
  - {id: everyone, members: [{rep: ana}, {rep: bo}, {rep: cy}]}
accounts:
  - {domain: bigcorp.example, name: BigCorp SE, owner: cy}
"""

SOURCES: Final = """
sources:
  - id: website
    kind: form
    forms: [demo-request, contact-sales, newsletter]
    allowed_origins: ["https://www.acme.example"]
  - id: phone
    kind: webhook
    verify: {scheme: hmac-sha256, header: X-Signature, encoding: hex, secrets: [{file: phone.secret}]}
    events:
      - when: "kind == 'call.ended'"
        type: touch.recorded
        time: ended_at
        id: uuid
        email: customer.email
        data: {channel: "'phone'", answered: "duration > `20`", rep_email: agent.email}
"""

TEXTS: Final = {"agreement": AGREEMENT, "team": TEAM, "sources": SOURCES}


def write(directory: Path, name: str, changes: Changes | None = None) -> None:
    """Write the file `name`.yaml with these changes, as JSON, which is also YAML."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.yaml").write_text(_json(merge(_parsed(name), changes)) if changes else _unchanged(name))
    (directory / "phone.secret").write_text(PHONE_SECRET)


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, default=str)


@cache
def _unchanged(name: str) -> str:
    return _json(merge(_parsed(name), {}))


@cache
def _parsed(name: str) -> Any:
    """Return the sample content of a file. Callers must not change it."""
    return YAML(typ="safe", pure=True).load(TEXTS[name])


def merge(base: Any, changes: Any) -> Any:
    """Return `base` with `changes` merged in."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    merged = {**base, **{name: merge(base.get(name), value) for name, value in changes.items()}}
    return {name: value for name, value in merged.items() if value is not None}


def reps(*changes: Changes, pool: Sequence[str] = ("ana", "bo", "cy")) -> dict[str, Any]:
    """Return changes of the team file: fields of reps, and the members of the pool."""
    by_id = {rep["id"]: rep for rep in _parsed("team")["reps"]}
    for change in changes:
        by_id[change["id"]] = merge(by_id.get(change["id"], {}), change)
    return {"reps": list(by_id.values()), "pools": [{"id": "everyone", "members": [{"rep": rep} for rep in pool]}]}
