"""Qualifies leads, gives each one owner, and keeps the fences."""
