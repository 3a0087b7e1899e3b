"""Decisions of the notifier. Pure: every time is an argument."""
