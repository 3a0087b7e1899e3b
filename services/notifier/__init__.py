"""Keeps the response clock of every lead and pages people until one has been in touch."""
