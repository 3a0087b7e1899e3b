"""The error for a text that has no normal form."""

from schemas.errors import FirstHourError


class MalformedError(FirstHourError, ValueError):
    """Raised for a text that is not an identifier of its kind. `mistake` and `remedy` are shown to the sender."""

    def __init__(self, mistake: str, remedy: str) -> None:
        super().__init__(f"{mistake}; {remedy}")
        self.mistake = mistake
        self.remedy = remedy
