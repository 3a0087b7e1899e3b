"""Decisions of reporting. Pure: every time is an argument."""
