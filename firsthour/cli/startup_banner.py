"""What `up` says when it serves: where to post, a line to paste, and the key, the first time."""

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
from firsthour.runtime.terminal import called

FIRST_KEY = "quickstart"
KEY_FILE = "admin.key"  # in the data directory, where the first start has no terminal to show the key on
_DATA_DIR = str(Settings.model_fields["data_dir"].default)
PERSON = {
    "email": "ada@northwind.example",
    "name": "Ada Park",
    "company": "Northwind",
    "title": "Head of Operations",
    "employees": "400",
}


def first_key(unit: Unit, file: Path | None) -> str | None:
    """Make the key of the first start and return it; None at every later start, also when the key was revoked.

    `file`: where the key is written, by this user alone to be read, before it is committed; None: it is shown instead.
    """
    if any(key.name == FIRST_KEY for key in key_store.list_keys(unit.connection)):
        return None
    key = key_store.create(unit.connection, name=FIRST_KEY, role="admin", rep=None, now=unit.clock.real())[1]
    if file is not None:
        write_private(file, f"{key}\n".encode())
    return key


def first_key_lives(connection: Connection) -> bool:
    """Whether it was never revoked."""
    return any(key.name == FIRST_KEY and key.revoked_at is None for key in key_store.list_keys(connection))


@dataclass(frozen=True)
class Greeting:
    """What is known when requests are answered. `key`: made just now; `lives`: the one of the first start still holds."""

    url: str
    config: Config
    data: str
    key: str | None
    lives: bool
    given: bool = False  # an admin key came from the settings
    key_file: Path | None = None  # holds the key just made; None: the key is shown

    def lines(self) -> Iterator[str]:
        """A line each; commands stand alone on theirs, to be pasted."""
        yield f"FirstHour answers at {self.url} (docs: {self.url}/docs)"
        yield f"  configuration {self.config.directory}, version {self.config.version}; data {self.data}"
        yield ""
        form = next((form for source in self.config.sources.sources for form in getattr(source, "forms", ())), None)
        if form is not None:
            yield "Post a lead; paste this into another terminal:"
            yield self.post(form)
        else:
            yield f"Post events to {self.url}/v1/events with a key; sources.yaml names no form."
        yield ""
        yield from self._about_key()
        yield ""
        yield "Ctrl-C stops."

    def _about_key(self) -> Iterator[str]:
        if self.key is not None and self.key_file is not None:
            yield f"Your key (admin) is in {self.key_file}, for this user alone; store it and delete the file. See the lead:"
            yield self.look_by(f'"Authorization: Bearer $(cat {shlex.quote(str(self.key_file))})"')
        elif self.key is not None:
            yield "See what became of it, with your key (admin, shown this once):"
            yield self.look(self.key)
        elif self.given:
            yield "Your key is that of FIRSTHOUR_ADMIN_KEY."
        elif self.lives:
            yield f"Your key from the first start still works; `{self._create()}` makes another."
        else:
            yield f"`{self._create()}` makes a key."

    def _create(self) -> str:
        where = "" if self.data == _DATA_DIR else f" --data {shlex.quote(self.data)}"
        return f"{called()} keys create --role admin --name ME{where}"

    def post(self, form: str) -> str:
        """A command that posts a lead, and needs no key."""
        fields = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in PERSON.items())
        return f"curl -sS {self.url}/v1/forms/{shlex.quote(form)} {fields}"

    def look(self, key: str) -> str:
        """A command that shows the lead."""
        return self.look_by(f"'Authorization: Bearer {key}'")

    def look_by(self, header: str) -> str:
        """A command that shows the lead; `header` is quoted for the shell."""
        return f"curl -sS -H {header} '{self.url}/v1/leads?email={PERSON['email']}'"
