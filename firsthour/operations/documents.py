"""Writes the table of settings into README.md, and the pages of docs/reference. Part of `make schemas`."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from firsthour.kernel.field_aliases import ALIASES
from firsthour.kernel.field_names import OWN_NAMES
from firsthour.operations import source_reference
from firsthour.runtime.settings import PREFIX, Settings, secret_fields

_ROOT = Path(__file__).resolve().parents[2]
README = _ROOT / "README.md"
REFERENCE = _ROOT / "docs" / "reference"
_FIELD_NAMES_INTRODUCTION = """# Names of fields

Forms (`POST /v1/forms/{form}`) and lists ([import](../lists.md)) may use these names for our fields. Case, accents, blanks and
punctuation do not count: `Téléphone`, `telephone` and `TELEPHONE:` are one name. Prefixes and endings of tools do not count
either: `your-` and a number of Contact Form 7, `form_fields[...]` of Elementor, `wpforms[fields][...]`, `0-1/` of HubSpot, `__c` of
Salesforce. `What is your ...?` and its like before a name do not count.

- Our own name comes before an alias. Of two fields with the same meaning the filled one counts. The other is kept under its own
  name, as `custom.<name>`.
- `fields:` of a form source in `sources.yaml` comes before all of them: `fields: {phone: mobilephone}`.
- Any other field is kept as `custom.<name>`. `firsthour source fields website` and `GET /v1/sources/{id}/fields` list these
  names: at most 200 of a source, for 35 days, without values.
- A form cannot fill `crm_id`: it is public, so it must not claim to be a known customer.
- A number of employees may be a range: `51-200`, `500+`, `1.000`, `more than 500`. The least possible number counts.
"""
_START, _END = "<!-- settings -->\n", "<!-- /settings -->\n"


def settings_table() -> str:
    """Return a table of all settings with default and description."""
    secrets = secret_fields()
    lines = ["| setting | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        kind = " Secret." if name in secrets else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description}{kind} |")
    return "\n".join(lines) + "\n"


def filled(text: str) -> str:
    """Return the README with the current table."""
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END)
    return f"{before}{_START}{settings_table()}{_END}{after}"


def field_names_page() -> str:
    """Return the page of the names that forms and lists may use for our fields."""
    lines = [_FIELD_NAMES_INTRODUCTION]
    for field in dict.fromkeys(OWN_NAMES.values()):
        own = [name for name, meaning in OWN_NAMES.items() if meaning == field]
        lines += [f"## {field}", "", f"- ours: {_names(own)}"]
        lines += [f"- {origin}: {_names(names[field])}" for origin, names in ALIASES.items() if field in names]
        lines.append("")
    return "\n".join(lines)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def pages() -> Mapping[Path, str]:
    """Return the text of every generated page, by its file."""
    return {
        README: filled(README.read_text()),
        REFERENCE / "field-names.md": field_names_page(),
        REFERENCE / "presets.md": source_reference.presets_page(),
        REFERENCE / "verification.md": source_reference.verification_page(),
        REFERENCE / "mapping.md": source_reference.mapping_page(),
    }


def main() -> int:
    """Write each page that changed."""
    for file, text in pages().items():
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            sys.stdout.write(f"wrote {file.relative_to(_ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
