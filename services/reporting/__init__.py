"""Reporting: reads every topic, keeps the history, emits nothing."""
