"""The made-up people of the demo: visitors, the replies of reps, and the chance that a lead qualifies.

The chance follows published figures about web leads: it falls to less than a sixth after the first hour, and to a hundredth
after a working day.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

HOUR: Final = timedelta(hours=1)
WORKING_DAY: Final = timedelta(hours=8)
ODDS: Final = (
    ("within the hour", HOUR, 0.40),
    ("later that day", WORKING_DAY, 0.06),
    ("after a working day", None, 0.004),
)
"""The chance that a lead qualifies, by the time until its first touch."""

_FIRST: Final = (
    *("Aino", "Bilal", "Carmen", "Dmitri", "Elif", "Femi", "Greta", "Hiro", "Ines", "Jonas", "Kaya", "Liam"),
    *("Mira", "Nils", "Odile", "Priya", "Rosa", "Sami", "Tove", "Uma", "Viktor", "Wanda", "Yusuf", "Zoe"),
)
_LAST: Final = (
    *("Aalto", "Berg", "Cruz", "Dahl", "Egger", "Ferro", "Grant", "Horvat", "Ikeda", "Jensen", "Klein", "Lopez"),
    *("Moreau", "Novak", "Okafor", "Petit", "Quist", "Rossi", "Silva", "Tanaka", "Urban", "Vega", "Weber", "Yilmaz"),
)
_STEMS: Final = (
    "Nord",
    "Blue",
    "Alpen",
    "Kite",
    "Harbor",
    "Quarry",
    "Lumen",
    "Cedar",
    "Pixel",
    "Orchard",
    "Tram",
    "Polar",
)
_TRADES: Final = (
    "Energy",
    "Foods",
    "Logistics",
    "Robotics",
    "Textiles",
    "Clinics",
    "Rail",
    "Insurance",
    "Paper",
    "Tools",
)
_TITLES: Final = ("Head of IT", "VP Sales", "Director of Operations", "CTO", "Founder", "Buyer", "Analyst", "Team lead")
_WANTS: Final = {"demo-request": 6, "contact-sales": 3, "newsletter": 2, "": 3}  # weights; "": only page views
_PATHS: Final = ("/", "/customers", "/pricing", "/pricing/teams", "/blog/first-hour", "/docs")
_PLACES: Final = (
    ("Germany", "+49 30 23125"),  # numbers that are kept free for films
    ("United Kingdom", "+44 20 7946 0"),
    ("Ireland", "+353 20 913 0"),
    ("Australia", "+61 2 5550 1"),
)
_MESSAGES: Final = (
    "We have to decide before the end of the month. Can you call me today?",
    "How does your price change with two hundred users?",
    "Our contract with another vendor ends soon. Please show us what you have.",
    "I saw your talk, and would like a demo for my team.",
    "",
)
WORDS: Final = {"demo-request": "asks for a demo", "contact-sales": "wants to be called", "newsletter": "subscribes"}


@dataclass(frozen=True)
class Visitor:
    """A person on the website, the pages that they view, and the form that they fill in at the end. `form` empty: none."""

    name: str
    email: str
    company: str
    title: str
    employees: int
    paths: tuple[str, ...]
    form: str
    country: str
    phone: str
    message: str


def visitor(chance: random.Random, number: int) -> Visitor:
    """Return visitor number `number`; each is a different person."""
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    stem, trade = chance.choice(_STEMS), chance.choice(_TRADES)
    country, prefix = chance.choice(_PLACES)
    return Visitor(
        f"{first} {last}",
        f"{first}.{last}.{number}@{stem}-{trade}.example".lower(),
        f"{stem} {trade}",
        chance.choice(_TITLES),
        int(10 ** chance.uniform(1.2, 3.6)),
        tuple(chance.choices(_PATHS, k=chance.randint(1, 3))),
        chance.choices(list(_WANTS), list(_WANTS.values()))[0],
        country,
        f"{prefix}{chance.randrange(1_000):03}",
        chance.choice(_MESSAGES),
    )


# --- reps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Temper:
    """How a rep reacts to a page: the weights of a prompt call, a late call, no reaction and a rejection.

    `heeds_reminder`: the chance that the rep acts on a reminder.
    """

    prompt: float
    late: float
    never: float
    no: float
    heeds_reminder: float


TEMPERS: Final = {
    "ana": Temper(0.88, 0.06, 0.02, 0.04, 0.9),
    "bo": Temper(0.60, 0.20, 0.10, 0.10, 0.5),
    "chidi": Temper(0.75, 0.15, 0.05, 0.05, 0.7),
    "dana": Temper(0.45, 0.25, 0.20, 0.10, 0.4),
    "emil": Temper(0.10, 0.20, 0.65, 0.05, 0.1),  # the slow rep of the team
    "max": Temper(0.70, 0.10, 0.20, 0.00, 0.3),
}
USUAL: Final = Temper(0.60, 0.20, 0.12, 0.08, 0.5)
REASONS: Final = ("no-time", "wrong-territory", "not-now", "no-budget")


@dataclass(frozen=True)
class RepReply:
    """The action of a rep on a lead, and the time from the page to the action. `reason`: why the rep rejects the lead."""

    act: Literal["touch", "reject", "nothing"]
    after: timedelta = timedelta(0)
    reason: str = ""


def answer(chance: random.Random, rep: str, rung: int) -> RepReply:
    """Return the reply of `rep` to the page of this rung. Rungs after the first are reminders."""
    temper = TEMPERS.get(rep, USUAL)
    if rung > 0:
        heeds = chance.random() < temper.heeds_reminder
        return RepReply("touch", _minutes(chance, 1, 8)) if heeds else RepReply("nothing")
    kind = chance.choices(("prompt", "late", "never", "no"), (temper.prompt, temper.late, temper.never, temper.no))[0]
    if kind == "prompt":
        return RepReply("touch", _minutes(chance, 1, 9))
    if kind == "late":
        return RepReply("touch", _minutes(chance, 24, 95))
    if kind == "no":
        return RepReply("reject", _minutes(chance, 2, 7), chance.choice(REASONS))
    return RepReply("nothing")


def talk(chance: random.Random) -> timedelta:
    """Return how long a rep works on a lead before its outcome is decided."""
    return _minutes(chance, 12, 40)


def _minutes(chance: random.Random, least: float, most: float) -> timedelta:
    return timedelta(minutes=chance.uniform(least, most))


def odds(wait: timedelta) -> float:
    """Return the chance that a lead qualifies, by its wait for the first touch."""
    return next(share for _, until, share in ODDS if until is None or wait <= until)
