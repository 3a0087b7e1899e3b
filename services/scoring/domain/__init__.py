"""Decisions of scoring. Pure: every time is an argument."""
