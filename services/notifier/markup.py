"""HTML from templates. Every value is escaped; no template marks text as safe."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FOLDER: Final = Path(__file__).parent / "templates"
_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
STYLE: Final = (_FOLDER / "page.css").read_text(encoding="utf-8").strip()
_STYLE_HASH: Final = "sha256-" + b64encode(sha256(STYLE.encode()).digest()).decode()
PAGE_HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": (
        f"default-src 'none'; style-src '{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}
"""The headers of a page for people: one inline style, no script, nothing is loaded, stored or passed on."""


def render(template: str, **values: Any) -> str:
    """Return the text of a template with these values, each escaped."""
    return _TEMPLATES.get_template(template).render(style=STYLE, **values)
