"""The log of a process that serves, as its settings say."""

import logging
import sys

from firsthour.runtime.observability.logging import configure_logging
from firsthour.runtime.settings import Settings


def configure_from(settings: Settings) -> None:
    """Log in the form and from the level of the settings; at a terminal in words, unless the form is set."""
    in_words = "log_format" not in settings.model_fields_set and sys.stderr.isatty()
    level = logging.getLevelName(settings.log_level.upper())
    configure_logging("console" if in_words else settings.log_format, level=level)
