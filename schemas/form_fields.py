"""Our fields that a form can fill, and the names that one source uses for them (`fields:` of a source)."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from schemas.conditions.fields import PERSON_FIELDS
from schemas.values import all_wrong, did_you_mean, repeated_indexes, shown, wrong

MESSAGE: Final = "message"
SHORT_NAMES: Final[Mapping[str, str]] = {
    "company": "company.name",
    "employees": "company.employees",
    "industry": "company.industry",
}
"""The short names of facts about a company, which forms may use."""

FORM_FIELDS: Final = ("email", *(name for name in PERSON_FIELDS if name != "email"), "anonymous_id", MESSAGE)
"""The fields that a form can fill, besides `custom.<name>`."""

_CUSTOM = re.compile(r"custom\.[^\s]{1,93}")


def _our_field(name: str) -> str:
    name = SHORT_NAMES.get(name, name)
    if name in FORM_FIELDS or _CUSTOM.fullmatch(name):
        return name
    raise wrong(
        f"{shown(name)} is not a field that a form can fill",
        did_you_mean(name, FORM_FIELDS) + " (your own: `custom.<name>`)",
    )


def _each_once(fields: dict[str, str]) -> dict[str, str]:
    repeated = repeated_indexes(list(fields.values()))
    if repeated:
        mistake = wrong("this field of the form already fills another field", "name it once")
        raise all_wrong("fields", [((list(fields)[index],), mistake) for index in repeated])
    return fields


TheirNames = Annotated[
    dict[
        Annotated[str, AfterValidator(_our_field)],
        Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")],
    ],
    AfterValidator(_each_once),
]
"""Their name of a field, by our name: `{phone: mobilephone, company.employees: numemployees}`."""
