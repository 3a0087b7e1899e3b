"""The error for a text that has no normal form."""

from schemas.errors import FirstHourError


class MalformedError(FirstHourError, ValueError):
    """Raised for a text that is not an identifier of its kind. `what` and `remedy` are shown to the sender."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy
