"""Reads and checks the configuration files, and reports mistakes with their places."""
