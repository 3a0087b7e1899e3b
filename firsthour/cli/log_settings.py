"""The log of a serving process, by its settings."""

import logging
import sys

from firsthour.runtime.observability.logging import configure_logging
from firsthour.runtime.settings import Settings


def configure_from(settings: Settings) -> None:
    """Set up the log with the format and level of the settings. In a terminal an unset format is `console`."""
    for_console = "log_format" not in settings.model_fields_set and sys.stderr.isatty()
    level = logging.getLevelName(settings.log_level.upper())
    configure_logging("console" if for_console else settings.log_format, level=level)
