"""Text that is safe to print on a terminal."""


def printable(text: str) -> str:
    """Return the text on one line. Control and unprintable characters are escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
