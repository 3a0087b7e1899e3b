"""The fields of a form that a page of our own sends."""

from typing import Final
from urllib.parse import parse_qsl

FIELDS_MAX: Final = 20


def form_fields(body: bytes, chars_max: int, fields_max: int = FIELDS_MAX) -> dict[str, str]:
    """Return the fields of a form, each cut to `chars_max` characters. A body that is no form has none."""
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=fields_max)
    except ValueError:
        return {}
    return {name: value[:chars_max] for name, value in pairs}
