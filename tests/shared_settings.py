"""The library of settings looks at the type of each setting once in a process of the tests, not once for each `Settings`.

A process of the program reads its settings once. The tests read them for each system that they open.
"""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

_kind_of = EnvSettingsSource._field_is_complex
_names_of = EnvSettingsSource._extract_field_info


def install() -> None:
    """Change the library in this process."""
    kinds: dict[int, tuple[FieldInfo, Any]] = {}
    names: dict[int, tuple[FieldInfo, Any]] = {}

    def kind(source: EnvSettingsSource, field: FieldInfo) -> Any:
        if id(field) not in kinds:
            kinds[id(field)] = field, _kind_of(source, field)  # the field is kept, so its id is not used again
        return kinds[id(field)][1]

    def names_of(source: EnvSettingsSource, field: FieldInfo, *more: Any) -> Any:
        if id(field) not in names:
            names[id(field)] = field, _names_of(source, field, *more)
        return names[id(field)][1]

    EnvSettingsSource._field_is_complex = kind  # type: ignore[method-assign,assignment]
    EnvSettingsSource._extract_field_info = names_of  # type: ignore[method-assign,assignment]
