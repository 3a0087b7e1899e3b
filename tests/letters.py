"""Dead letters as tests look at them: whole."""

from sqlalchemy.engine import Connection

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import DeadLetter


def waiting(connection: Connection) -> list[DeadLetter]:
    """The letters that wait, oldest first, with their bodies."""
    found = [dead_letters.get(connection, letter.id) for letter in dead_letters.find_by_state(connection)]
    return [letter for letter in found if letter is not None]
