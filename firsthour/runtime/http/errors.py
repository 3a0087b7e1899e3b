"""Every error of this project, its exit code on the command line and its problem over HTTP.

The map has the names of classes, so that a command imports only the modules that it uses. An error has the outcome of its
own class, else of its nearest base class.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from firsthour.runtime.http.problem import Problem, internal, unavailable
from schemas.errors import FirstHourError

NO: Final = 1
BAD_INPUT: Final = 2


class ErrorOutcome(NamedTuple):
    """The outcome of a command or of a request that ends with an error."""

    exit_code: int | None = None  # None: the message is not shown; a caller handles the error, or it is a bug
    problem: Callable[[], Problem] = internal
    remedy: str = ""  # appended to the message on the command line


_HANDLED: Final = ErrorOutcome()
_REFUSED: Final = ErrorOutcome(NO)
_WRONG_INPUT: Final = ErrorOutcome(BAD_INPUT)

OUTCOMES: Final[Mapping[str, ErrorOutcome]] = {
    "FirstHourError": _HANDLED,
    "SignInNeededError": _HANDLED,
    "ProviderError": _HANDLED,
    "ProviderBusyError": _HANDLED,
    "UnknownSigningKeyError": _HANDLED,
    "TokenRefusedError": _HANDLED,
    # --- the input has to be corrected: exit code 2
    "ConfigError": _WRONG_INPUT,
    "InputError": _WRONG_INPUT,
    "UnreadableFileError": _WRONG_INPUT,
    "InputRefusedError": _WRONG_INPUT,
    "MailSettingsError": _WRONG_INPUT,
    "NothingHereError": _WRONG_INPUT,
    "SettingsError": _WRONG_INPUT,
    "SpeedError": _WRONG_INPUT,
    # --- the command cannot be done, or not now: exit code 1
    "AlreadyRunningError": ErrorOutcome(
        NO, remedy="try again if it has just started; otherwise stop that one, or name another directory with --data"
    ),
    "CommandRefusedError": _REFUSED,
    "DemoError": _REFUSED,
    "ImportStoppedError": _REFUSED,
    "MissingFilesError": _REFUSED,
    "NotStartedError": _REFUSED,
    "PortTakenError": _REFUSED,
    "ReplayError": _REFUSED,
    "SilentError": _REFUSED,
    "StorageError": ErrorOutcome(NO, unavailable),
    "IdentityTakenError": ErrorOutcome(NO, unavailable),
    "NothingAppliedError": ErrorOutcome(NO, unavailable),
    "TablesError": _REFUSED,
    "UnknownTablesError": _REFUSED,
    "UnreachableError": _REFUSED,
    "UnsafeFileError": _REFUSED,
    # --- answers over HTTP: they carry their own problem
    "Problem": _HANDLED,
    "RequestRefusedError": _HANDLED,
    "StrictError": _HANDLED,
    # --- handled where they arrive: part of a request, an event, a record or a measurement is refused
    "BrokerError": _HANDLED,
    "PrivateAddressError": _HANDLED,
    "UnknownHostError": _HANDLED,
    "CursorMovedError": _HANDLED,
    "LoadRefusedError": _HANDLED,
    "MalformedError": _HANDLED,
    "MovedError": _HANDLED,
    "FollowerError": _HANDLED,
    "AnswerTooLargeError": _HANDLED,
    "ConditionTooLargeError": _HANDLED,
    "NoAnswerError": _HANDLED,
    "RotationError": _HANDLED,
    "UnreadLogError": _HANDLED,
    "RecordRejectedError": _HANDLED,
    "RecordTooLargeError": _HANDLED,
    "SecretError": _HANDLED,
    "SecretMissingError": _HANDLED,
    "SilentProcessError": _HANDLED,
    "StandstillError": _HANDLED,
    "StuckError": _HANDLED,
    "TooManyDeadLettersError": _HANDLED,
    "UnknownEventError": _HANDLED,
    "UnknownOpError": _HANDLED,
    "UnknownTimeError": _HANDLED,
    "UnreadableRequestError": _HANDLED,
    "UnmappableError": _HANDLED,
    "UnownedTableError": _HANDLED,
    "UnreadableError": _HANDLED,
    "UnusableSecretError": _HANDLED,
    # --- errors of libraries
    "sqlalchemy.exc.DBAPIError": _REFUSED,
    "builtins.OSError": _REFUSED,
}


def outcome_of(error: BaseException) -> ErrorOutcome:
    """Return the outcome of the error's class, else of its nearest base class in the map."""
    names = map(_name, type(error).__mro__)
    return next((OUTCOMES[name] for name in names if name in OUTCOMES), _HANDLED)


def _name(kind: type) -> str:
    return kind.__name__ if issubclass(kind, FirstHourError) else f"{kind.__module__}.{kind.__name__}"


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with this error."""
    code = outcome_of(error).exit_code
    return NO if code is None else code


def as_problem(error: Exception) -> Problem:
    """Return the problem to answer to a request that ends with this error."""
    return error if isinstance(error, Problem) else outcome_of(error).problem()
