"""The functions that expressions of `sources.yaml` may call besides those of JMESPath."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class MappingFunction(NamedTuple):
    """A function. `most`: None: it takes any number of arguments."""

    least: int
    most: int | None
    text: str


MAPPING_FUNCTIONS: Final[Mapping[str, MappingFunction]] = {
    "first_filled": MappingFunction(1, None, "the first argument that is neither empty nor blank"),
    "join_filled": MappingFunction(2, 2, "the items of a list that are filled, with the first argument between them"),
    "lower": MappingFunction(1, 1, "a text in lower case"),
    "number": MappingFunction(
        1, 1, "the number in a text such as '1,200' or '51-200' (its lower end); null without one"
    ),
    "from_json": MappingFunction(1, 1, "the value of a text that is JSON; null for another text"),
    "object_of": MappingFunction(
        3, 3, "an object from a list of objects: the fields with its keys and with its values"
    ),
    "after_last": MappingFunction(2, 2, "the part of a text after the last occurrence of the second argument"),
    "merged_by": MappingFunction(
        3, 3, "a list of objects, each with the fields of the object in another list that has the same value of a key"
    ),
    "option_texts": MappingFunction(
        1, 1, "a list of objects, each with the texts of its `options` in place of their ids in its `value`"
    ),
}
