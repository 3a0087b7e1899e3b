"""Decisions of scoring as pure functions: every time is an argument."""
