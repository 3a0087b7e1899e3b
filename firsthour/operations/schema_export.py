"""`make schemas`: writes JSON Schemas of all events and configuration files, and `asyncapi.yaml`.

The files are checked in. Tests keep them current and backward compatible.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel
from ruamel.yaml import YAML

from firsthour.runtime.http.problem import Problem
from schemas import topics
from schemas.agreement.agreement import Agreement
from schemas.envelope import MAJOR, dataschema
from schemas.events.base import Event
from schemas.events.catalogue import OURS
from schemas.events.outside import OUTSIDE_TYPES, ExternalEvent
from schemas.sources import Sources
from schemas.team import Team

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILES: dict[str, type[BaseModel]] = {"agreement": Agreement, "team": Team, "sources": Sources}
SHAPES: tuple[type[Event], ...] = (ExternalEvent, *OURS)
_HERE = Path(__file__).resolve().parents[2] / "schemas"


def events_schema() -> dict[str, Any]:
    """Return the schema of the `data` of every event, by name, with its types and topic."""
    _, components = msgspec.json.schema_components(SHAPES, ref_template="#/$defs/{name}")
    for shape in SHAPES:
        schema = components[shape.__name__]
        schema["x-topic"] = shape.TOPIC
        schema["x-types"] = [*OUTSIDE_TYPES, "custom.*"] if shape is ExternalEvent else [shape.TYPE]
    return {
        "$schema": DIALECT,
        "$id": f"urn:firsthour:events:{MAJOR}",
        "title": "FirstHour events",
        "$defs": components,
    }


def file_schema(name: str) -> dict[str, Any]:
    """Return the schema of one configuration file."""
    schema = FILES[name].model_json_schema(by_alias=True)
    return {"$schema": DIALECT, "$id": f"urn:firsthour:{name}:{MAJOR}", **schema}


def asyncapi() -> dict[str, Any]:
    """Return the topics in AsyncAPI 3.0: their events, producers and consumers."""
    messages = {shape.__name__: _message(shape) for shape in SHAPES}
    channels = {
        topic: {
            "address": topic,
            "description": f"Keyed by {topics.KEYED_BY[topic]}. Read by {', '.join(topics.READ_BY[topic])}.",
            "messages": {
                shape.__name__: {"$ref": f"#/components/messages/{shape.__name__}"}
                for shape in SHAPES
                if topic == shape.TOPIC
            },
        }
        for topic in topics.ALL
    }
    channels[topics.INBOUND] = {
        "address": topics.INBOUND,
        "description": "CloudEvents of other programs, structured or binary. Read by gateway.",
        "messages": {"InboundEvent": {"$ref": "#/components/messages/InboundEvent"}},
    }
    messages["InboundEvent"] = _inbound_message()
    operations = {f"send_{topic}": _operation("send", topic) for topic in topics.ALL}
    operations |= {f"receive_{topic}": _operation("receive", topic) for topic in topics.ALL}
    operations["receive_inbound"] = {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{topics.INBOUND}"},
        "summary": "Received by gateway.",
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FirstHour",
            "version": f"{MAJOR}",
            "description": "CloudEvents 1.0 in structured JSON; `dataschema` names the event and its major version.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _message(shape: type[Event]) -> dict[str, Any]:
    types = [*OUTSIDE_TYPES] if shape is ExternalEvent else [shape.TYPE]
    return {
        "name": shape.TYPE if shape is not ExternalEvent else "outside event",
        "summary": (shape.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "),
        "contentType": "application/cloudevents+json",
        "payload": {
            "type": "object",
            "required": ["specversion", "id", "source", "type", "time", "dataschema", "partitionkey", "data"],
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string"},
                "source": {"type": "string"},
                "type": {"type": "string"} if shape is ExternalEvent else {"const": shape.TYPE},
                "time": {"type": "string", "format": "date-time"},
                "datacontenttype": {"const": "application/json"},
                "dataschema": {"type": "string", "examples": [dataschema(types[0])]},
                "partitionkey": {"type": "string"},
                "data": {"$ref": f"json/events.json#/$defs/{shape.__name__}"},
            },
        },
    }


def _inbound_message() -> dict[str, Any]:
    return {
        "name": "event of another program",
        "summary": "A CloudEvent 1.0. A source of `kind: kafka` in sources.yaml names its `source`, and lists its `type`.",
        "contentType": "application/cloudevents+json",
        "payload": {
            "type": "object",
            "required": ["specversion", "id", "source", "type"],
            "properties": {
                "specversion": {"const": "1.0"},
                **{name: {"type": "string"} for name in ("id", "source", "subject")},
                "type": {"type": "string", "examples": list(OUTSIDE_TYPES[:1])},
                "time": {"type": "string", "format": "date-time"},
                "data": {"type": "object"},
            },
        },
    }


def _operation(action: str, topic: str) -> dict[str, Any]:
    services = topics.EMITTED_BY[topic] if action == "send" else topics.READ_BY[topic]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": f"{'Sent' if action == 'send' else 'Received'} by {', '.join(services)}.",
    }


def documents() -> dict[str, str]:
    """Return the text of each generated file, by its path below `schemas/`."""
    texts = {f"json/{name}.json": _json(file_schema(name)) for name in FILES}
    texts["json/events.json"] = _json(events_schema())
    stream = io.StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump(asyncapi(), stream)
    texts["asyncapi.yaml"] = "# Generated by `make schemas`; do not edit.\n" + stream.getvalue()
    return texts


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class Yaml(Response):
    """A response in YAML, with its registered media type."""

    media_type = "application/yaml"


class JsonSchema(Response):
    """A response with a JSON Schema, and its media type."""

    media_type = "application/schema+json"


def router() -> APIRouter:
    """Return the routes of `/asyncapi.yaml` and of the schemas that it refers to, as they are checked in."""
    api = APIRouter(tags=["vocabulary"])

    @api.get("/asyncapi.yaml", response_class=Yaml)
    async def asyncapi_document() -> Yaml:
        """Return every event on every topic, in AsyncAPI 3.0."""
        return Yaml((_HERE / "asyncapi.yaml").read_text())

    @api.get("/json/{name}.json", response_class=JsonSchema)
    async def schema(name: str) -> JsonSchema:
        """Return the JSON Schema of the events, or of one configuration file."""
        if name not in (*FILES, "events"):
            raise Problem(404, "Unknown schema", f"The schemas are {', '.join((*FILES, 'events'))}.")
        return JsonSchema((_HERE / "json" / f"{name}.json").read_bytes())

    return api


def main() -> int:
    """Write every document that changed, and print its path."""
    for name, text in documents().items():
        path = _HERE / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote schemas/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
