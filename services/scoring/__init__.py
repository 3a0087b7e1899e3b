"""Scoring: resolves the person of an event and emits their score and the qualify lines that the event meets."""
