"""Parses XML from outside into objects: without entities, external references and document types.

An element becomes an object of its children, a text if it has none. Repeated children become a list. Attributes are fields
that begin with `@`, the text of an element with attributes or children is the field `#text`. Name spaces are left out.
"""

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from services.gateway.domain.coerce import Json, UnmappableError

DEPTH_MAX: Final = 50
NODES_MAX: Final = 20_000


def parse_xml(body: bytes) -> dict[str, Json]:
    """Return `{name of the root: its content}`. Raises `UnmappableError` 400."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        remedy = "send well-formed XML in UTF-8, without a document type"
        raise UnmappableError("#", "is not XML that is read here", remedy, 400) from None
    nodes = iter(range(NODES_MAX))
    return {_local(root.tag): _content(root, nodes, 0)}


def _content(element: Element, nodes: Iterator[int], depth: int) -> Json:
    if depth >= DEPTH_MAX or next(nodes, None) is None:
        raise UnmappableError("#", "the XML is nested too deeply, or has too many elements", "send less", 413)
    text = (element.text or "").strip()
    fields: dict[str, Json] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    for child in element:
        name, value = _local(child.tag), _content(child, nodes, depth + 1)
        if name not in fields:
            fields[name] = value
            continue
        others = fields[name]
        if isinstance(others, list):
            others.append(value)
        else:
            fields[name] = [others, value]
    if not fields:
        return text
    return {**fields, "#text": text} if text else fields


def _local(name: str) -> str:
    return name.rpartition("}")[2]
