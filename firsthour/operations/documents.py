"""Writes the table of settings into README.md. Part of `make schemas`."""

import sys
from pathlib import Path

from firsthour.runtime.settings import PREFIX, Settings, secret_fields

README = Path(__file__).resolve().parents[2] / "README.md"
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


def main() -> int:
    """Write the README if the table changed."""
    text = README.read_text()
    if filled(text) != text:
        README.write_text(filled(text))
        sys.stdout.write("wrote README.md\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
