"""The section `custom_fields`: facts of your own, with their types."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.agreement.fields import Text
from schemas.conditions.fields import BOOL, DATE, NUMBER, TEXT
from schemas.values import Shape, as_list, repeated_indexes, wrong

FIELDS_MAX: Final = 100
NAME_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
KINDS: Final[Mapping[str, str]] = {"text": TEXT, "number": NUMBER, "date": DATE, "flag": BOOL}
"""The type of a custom field in conditions."""

FieldOrigin = Literal["form", "crm", "import", "event"]
"""`form`: a submitted form. `crm`: an event with a CRM id, or one that a CRM reports (`lead.updated`, `opportunity.changed`,
`touch.recorded`). `import`: a list. `event`: any other event."""


class CustomField(Shape):
    """A fact of your own, which conditions name as `custom.<name>`.

    `from`: the only events that may state it; empty: all. `one_of`: its only values, of a text. A value of another type, or from
    elsewhere, is dropped and counted.
    """

    type: Literal["text", "number", "date", "flag"]
    from_: Annotated[tuple[FieldOrigin, ...], BeforeValidator(as_list)] = Field((), alias="from")
    one_of: Annotated[tuple[Text, ...], Field(max_length=200)] = ()

    @model_validator(mode="after")
    def _lists_texts(self) -> Self:
        if self.one_of and self.type != "text":
            raise wrong(f"`one_of` is for texts, and this is a {self.type}", "remove it, or write `type: text`")
        if repeated_indexes([value.casefold() for value in self.one_of]):
            raise wrong("`one_of` has a value twice", "remove one of them")
        return self


def _few(fields: dict[str, CustomField]) -> dict[str, CustomField]:
    if len(fields) > FIELDS_MAX:
        raise wrong(f"there are more than {FIELDS_MAX} custom fields", f"keep the {FIELDS_MAX} that conditions name")
    return fields


CustomFields = Annotated[
    dict[Annotated[str, Field(pattern=NAME_PATTERN)], CustomField],
    AfterValidator(_few),
]
