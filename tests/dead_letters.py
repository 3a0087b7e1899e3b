"""Dead letters with their bodies, for tests."""

from sqlalchemy.engine import Connection

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.dead_letters import DeadLetter


def waiting_letters(connection: Connection) -> list[DeadLetter]:
    """Return the waiting dead letters, oldest first, with their bodies."""
    letters = [dead_letters.get(connection, letter.id) for letter in dead_letters.find_by_state(connection)]
    return [letter for letter in letters if letter is not None]
