"""The banner of `up`: the address, a command that posts a lead, and a line about the admin key."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection

from firsthour.kernel.config import Config
from firsthour.runtime.http import key_store
from firsthour.runtime.private_files import write_private
from firsthour.runtime.settings import Settings
from firsthour.runtime.storage.unit import Unit
from firsthour.runtime.terminal import program_name
from services.console import sessions
from services.console.sessions import SignInLink

FIRST_KEY = "quickstart"
LINK_FILE = "console.link"  # in the data directory; has the link to the console if the start has no terminal to show it
KEY_FILE = "admin.key"  # in the data directory; has the key if the first start has no terminal to show it
_DATA_DIR = str(Settings.model_fields["data_dir"].default)
PERSON = {
    "email": "ada@northwind.example",
    "name": "Ada Park",
    "company": "Northwind",
    "title": "Head of Operations",
    "employees": "400",
}


def first_key(unit: Unit, file: Path | None) -> str | None:
    """Create the key of the first start and return it; None at every later start, also after the key was revoked.

    `file`: gets the key before the commit, and only this user can read it. None: the banner shows the key.
    """
    if any(key.name == FIRST_KEY for key in key_store.list_keys(unit.connection)):
        return None
    key = key_store.create(unit.connection, name=FIRST_KEY, role="admin", rep=None, now=unit.clock.real())[1]
    if file is not None:
        write_private(file, f"{key}\n".encode())
    return key


def first_link(unit: Unit, url: str) -> str:
    """Return a new one-time link to the console for an admin."""
    granted = SignInLink("operator", "admin", None)
    return f"{url}/console/enter/{sessions.create_link(unit.connection, granted, unit.clock.real())}"


def first_key_is_valid(connection: Connection) -> bool:
    """Return whether the key of the first start exists and is not revoked."""
    return any(key.name == FIRST_KEY and key.revoked_at is None for key in key_store.list_keys(connection))


@dataclass(frozen=True)
class StartupBanner:
    """The contents of the banner."""

    url: str
    config: Config
    data: str
    key: str | None  # created at this start; None: the first start was earlier
    first_key_valid: bool
    from_settings: bool = False  # the settings have an admin key
    key_file: Path | None = None  # holds the new key; None: the banner shows it
    console: str = ""  # the one-time link to the console, or the file that has it

    def lines(self) -> Iterator[str]:
        """Yield the lines. Each command is alone on its line, so that it can be pasted."""
        yield f"FirstHour answers at {self.url} (API docs: {self.url}/docs)"
        yield f"  configuration {self.config.directory}, version {self.config.version}; data {self.data}"
        yield ""
        yield "To open the console (the link works once, within 15 minutes):"
        yield f"  {self.console}"
        yield ""
        form = next((form for source in self.config.sources.sources for form in getattr(source, "forms", ())), None)
        if form is not None:
            yield "To post a lead, paste this into another terminal:"
            yield self.post_command(form)
        else:
            yield f"sources.yaml has no form; post events to {self.url}/v1/events with a key."
        yield ""
        yield from self._about_key()
        yield ""
        yield "Ctrl-C stops FirstHour."

    def _about_key(self) -> Iterator[str]:
        if self.key is not None and self.key_file is not None:
            yield f"Your admin key is in {self.key_file}; store it elsewhere and delete the file. To see the lead:"
            yield self.show_command(f'"Authorization: Bearer $(cat {shlex.quote(str(self.key_file))})"')
        elif self.key is not None:
            yield "To see the lead, with your admin key, which is shown only once:"
            yield self.show_command(f"'Authorization: Bearer {self.key}'")
        elif self.from_settings:
            yield "Your admin key is the value of FIRSTHOUR_ADMIN_KEY."
        elif self.first_key_valid:
            yield f"Your key from the first start still works. To create another: {self._create_command()}"
        else:
            yield f"To create a key: {self._create_command()}"

    def _create_command(self) -> str:
        data = "" if self.data == _DATA_DIR else f" --data {shlex.quote(self.data)}"
        return f"{program_name()} keys create --role admin --name ME{data}"

    def post_command(self, form: str) -> str:
        """Return a command that posts a lead. It needs no key."""
        fields = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in PERSON.items())
        return f"curl -sS {self.url}/v1/forms/{shlex.quote(form)} {fields}"

    def show_command(self, header: str) -> str:
        """Return a command that shows the lead. `header` is already quoted for the shell."""
        return f"curl -sS -H {header} '{self.url}/v1/leads?email={PERSON['email']}'"
