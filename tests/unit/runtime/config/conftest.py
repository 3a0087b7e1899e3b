"""A configuration directory for each test."""

from tests.unit.runtime.config.harness import harness

__all__ = ["harness"]
