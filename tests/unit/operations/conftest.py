"""An installation for each test."""

from tests.unit.operations.harness import harness

__all__ = ["harness"]
