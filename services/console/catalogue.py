"""The texts of the console in the language of its reader. English is the source; a language is a file of `locales/`.

`locales/console.pot` lists every text. `locales/<language>.po` translates them; a text without a translation stays English.
"""

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale, negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

FOLDER: Final = Path(__file__).parent / "locales"
TEMPLATE: Final = FOLDER / "console.pot"
SOURCE: Final = "en"
LANGUAGES_MAX: Final = 20  # that are read of a header


@cache
def languages() -> Mapping[str, NullTranslations]:
    """Return the texts of each language. Raises `ValueError` for a file that is no catalogue."""
    found: dict[str, NullTranslations] = {SOURCE: NullTranslations()}
    for file in sorted(FOLDER.glob("*.po")):
        compiled = BytesIO()
        with file.open("rb") as source:
            write_mo(compiled, read_po(source, locale=file.stem))
        compiled.seek(0)
        found[file.stem] = Translations(compiled)
    return found


def language_of(accepted: str) -> str:
    """Return the language that suits the header `Accept-Language` best."""
    wanted = [part.partition(";")[0].strip() for part in accepted.split(",")[:LANGUAGES_MAX]]
    return negotiate_locale(wanted, list(languages()), sep="-") or SOURCE


@cache
def locale_of(language: str) -> Locale:
    """Return the locale by which times and numbers are written."""
    return Locale.parse(language, sep="-" if "-" in language else "_")
