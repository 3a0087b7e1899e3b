"""The page at `/docs`: every operation of the interface, as one HTML page without scripts or external resources."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em}b{display:inline-block;min-width:4.5rem}"
    "summary{cursor:pointer;padding:.2rem 0}details>*:not(summary){margin-left:1.5rem}"
)
STYLE_HASH: Final = "sha256-" + b64encode(sha256(_STYLE.encode()).digest()).decode()
"""The only inline style that the Content-Security-Policy allows."""


def page(schema: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI description."""
    title = escape(str(schema["info"]["title"]))
    operations = "\n".join(_operations(schema))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n'
        f"<p>Version {escape(str(schema['info']['version']))}. Send <code>Authorization: Bearer &lt;key&gt;</code>; errors are "
        '<code>application/problem+json</code>. For programs: <a href="/openapi.json">openapi.json</a>.</p>\n'
        f"{operations}\n</body></html>\n"
    )


def _operations(schema: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in sorted(schema.get("paths", {}).items()):
        for method, operation in methods.items():
            about = operation.get("description") or operation.get("summary") or ""
            yield (
                f"<details><summary><b>{escape(method.upper())}</b> <code>{escape(path)}</code></summary>"
                f"<p>{escape(about)}</p>{_list('Parameters', _parameters(operation))}{_list('Body', _body(operation, schema))}"
                "</details>"
            )


def _list(title: str, items: Iterator[tuple[str, str, bool]]) -> str:
    rows = "".join(
        f"<li><code>{escape(name)}</code>{' (required)' if required else ''} {escape(about)}</li>"
        for name, about, required in items
    )
    return f"<p>{title}</p><ul>{rows}</ul>" if rows else ""


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for parameter in operation.get("parameters", ()):
        about = f"{parameter['in']}: {parameter.get('description', '')}"
        yield parameter["name"], about, bool(parameter.get("required"))


def _body(operation: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        shape = content.get("schema", {})
        name = str(shape.get("$ref", "")).rpartition("/")[2]
        shape = schema.get("components", {}).get("schemas", {}).get(name, shape)
        for field, about in shape.get("properties", {}).items():
            yield field, str(about.get("description", "")), field in shape.get("required", ())
