"""Conditions of the agreement, compiled and evaluated."""
