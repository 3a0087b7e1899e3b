"""The agreement, team and sources of the demo: a small team, so that leads wait in a busy hour."""

from pathlib import Path
from typing import Final

AGREEMENT: Final = """\
version: 1
name: The demo's agreement
scoring:
  fit:
    at_most: 100
    rules:
      - {points: 40, because: Between 50 and 5000 employees, when: {company.employees: {between: [50, 5000]}}}
      - {points: 30, because: Leads a department or more, when: {title: {has_word: [head, vp, director, cto, founder]}}}
      - {points: 20, because: Writes from a company address, when: {email.kind: business}}
  engagement:
    at_most: 100
    half_life: 14d
    rules:
      - {points: 60, because: Asked to speak with us, on: form.submitted, when: {form: {in: [demo-request, contact-sales]}}}
      - {points: 8, because: Read about prices, on: page.viewed, when: {path: {starts_with: [/pricing]}}}
      - {points: 5, because: Subscribed to the newsletter, on: form.submitted, when: {form: newsletter}}
qualify:
  - {name: Asked for us, urgency: hot, on: form.submitted, when: {form: {in: [demo-request, contact-sales]}}}
routing:
  rules:
    - {name: Large companies, when: {company.employees: {gte: 1000}}, pool: enterprise}
    - {name: Everybody else, pool: growth}
response:
  hot: {touch_within: 1h}
  ladder:
    - {at: 0m, page: owner, by: [inbox]}
    - {at: 10m, page: owner, by: [inbox]}
    - {at: 20m, page: manager, by: [inbox]}
    - {at: 30m, reassign: true}
  reassign_at_most: 1
"""
TEAM: Final = """\
reps:
  - {id: ana, name: Ana Ruiz, email: ana@ourcompany.example, manager: max, capacity: {open: 6}}
  - {id: bo, name: Bo Lind, email: bo@ourcompany.example, manager: max, capacity: {open: 5}}
  - {id: chidi, name: Chidi Eze, email: chidi@ourcompany.example, manager: max, capacity: {open: 5}}
  - {id: dana, name: Dana Katz, email: dana@ourcompany.example, manager: max, capacity: {open: 5}}
  - {id: emil, name: Emil Vogt, email: emil@ourcompany.example, manager: max, capacity: {open: 4}}
  - {id: max, name: Max Sato, email: max@ourcompany.example}
pools:
  - {id: enterprise, members: [{rep: ana, weight: 2}, {rep: bo}, {rep: emil}]}
  - {id: growth, members: [{rep: ana}, {rep: bo}, {rep: chidi, weight: 2}, {rep: dana, weight: 2}, {rep: emil}]}
"""
SOURCES: Final = """\
sources:
  - {id: website, kind: form, forms: [demo-request, contact-sales, newsletter]}
"""


def furnish(directory: Path) -> Path:
    """Write the three files into `directory`; return it."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (("agreement", AGREEMENT), ("team", TEAM), ("sources", SOURCES)):
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    return directory
