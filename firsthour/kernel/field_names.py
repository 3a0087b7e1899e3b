"""Finds our field for the name that a form or a list uses: our own name, another spelling of it, or an alias."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Final

from firsthour.kernel.field_aliases import ALIASES
from schemas.conditions.fields import PERSON_FIELDS
from schemas.form_fields import MESSAGE, SHORT_NAMES

NAME_MAX: Final = 100  # characters of a name; a longer one is not looked up
LEARNED_MAX: Final = 1_000
"""Names that one table remembers. Anyone may post a form, so further names are looked up each time."""

CHOSEN, OWN, SPELLING, ALIAS = range(4)
"""The ranks of a name, best first: chosen in the configuration, ours, ours in another spelling, an alias."""

Meaning = tuple[int, str]
"""The rank of a name, and our field. An empty field: the name is about the post, not the person."""

IDENTIFYING: Final = ("email", "phone", "anonymous_id", "crm_id")
OWN_NAMES: Final[Mapping[str, str]] = {
    **{name: name for name in (*PERSON_FIELDS, *IDENTIFYING, MESSAGE)},
    **{name.replace(".", "_"): name for name in PERSON_FIELDS},
    **SHORT_NAMES,
}
"""Our names, as flat forms may write them, with the fields that they mean."""

_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_WRAPPER = re.compile(
    r"(?:form_fields|fields|wpforms\.fields\.\d{1,4}|contact|lead|person|0-1)[./]|q\d{1,4}_"
    r"|(?:what(?: is|['\u2019]s) )?your[ _-]|wie (?:lautet|ist) (?:ihre?|deine?) |quel(?:le)? est (?:votre|ton|ta) "
    r"|¿?cu[aá]l es (?:tu|su) ",
    re.IGNORECASE,
)
"""Prefixes that tools and questions put before the name of a field."""
_TAIL = re.compile(r"(?:__c|[-_]\d{1,6})\Z", re.IGNORECASE)
"""Endings that tools add to it: `__c` of Salesforce, numbers of Contact Form 7."""


def fold(name: str) -> str:
    """Return the name without case, accents, blanks and punctuation. Its cost is linear in `NAME_MAX`."""
    name = name[:NAME_MAX].casefold()
    if not name.isascii():
        name = unicodedata.normalize("NFKD", name)
    return "".join(filter(str.isalnum, name))


def _folded() -> dict[str, Meaning]:
    """Return the meaning of every name in its folded form. Our own names come first, so no alias replaces one."""
    meanings: dict[str, Meaning] = {}
    for name, field in OWN_NAMES.items():
        meanings.setdefault(fold(name), (SPELLING, field))
    for names in ALIASES.values():
        for field, aliases in names.items():
            for alias in aliases:
                for written in (alias, alias.lower().translate(_UMLAUTS)):
                    meanings.setdefault(fold(written), (ALIAS, field))
    return meanings


FOLDED: Final[Mapping[str, Meaning]] = _folded()


class FieldNames(dict[str, Meaning | None]):
    """The meaning of each name; None: the name is unknown. A name that was met before costs one dictionary access."""

    def __init__(
        self,
        chosen: Mapping[str, str] | None = None,
        *,
        control: Collection[str] = (),
        leave: Collection[str] = (),
    ) -> None:
        """Make a table.

        Args:
            chosen: Their name of our field, by our field. It overrides the built-in names.
            control: Names about the post, not the person.
            leave: Our fields that no name may mean.
        """
        self._chosen: dict[str, Meaning] = {
            fold(name): (CHOSEN, OWN_NAMES.get(field, field)) for field, name in (chosen or {}).items()
        }
        self._leave = frozenset(leave)
        super().__init__({name: (OWN, field) for name, field in OWN_NAMES.items() if field not in self._leave})
        self.update({name: self._chosen[fold(name)] for name in self if fold(name) in self._chosen})
        self.update(dict.fromkeys(control, (OWN, "")))
        self._room = LEARNED_MAX

    def __missing__(self, name: str) -> Meaning | None:
        """Look a name up, and remember it."""
        meaning = self._meaning(name) if len(name) <= NAME_MAX else None
        if self._room > 0 and len(name) <= NAME_MAX:
            self._room -= 1
            self[name] = meaning
        return meaning

    def _meaning(self, name: str) -> Meaning | None:
        if name.startswith("custom."):
            return self._chosen.get(fold(name))
        bare = name
        for shorter in (_WRAPPER, _TAIL):
            meaning = self._find(fold(bare))
            if meaning is not None:
                return meaning
            bare = shorter.sub("", bare, count=1)
        meaning = self._find(fold(bare))
        return meaning if meaning is None or meaning[0] in (CHOSEN, ALIAS) else (ALIAS, meaning[1])

    def _find(self, folded: str) -> Meaning | None:
        meaning = self._chosen.get(folded) or FOLDED.get(folded)
        return None if meaning is None or meaning[1] in self._leave else meaning
