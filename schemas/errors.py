"""The base class of every error that this project raises to a caller."""


class FirstHourError(Exception):
    """An error of this project. `firsthour/runtime/http/errors.py` lists the whole tree and the outcome of each class."""
