"""Hears every topic, says nothing, keeps the history."""
