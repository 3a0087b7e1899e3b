"""Dead letters as tests look at them: whole."""

from sqlalchemy.engine import Connection

from services.runtime import deadletters
from services.runtime.deadletters import DeadLetter


def waiting(connection: Connection) -> list[DeadLetter]:
    """The letters that wait, oldest first, with their bodies."""
    found = [deadletters.get(connection, letter.id) for letter in deadletters.listed(connection)]
    return [letter for letter in found if letter is not None]
