"""Decisions of the router as pure functions: lifecycle, qualification, owners, turns."""
