"""Resolves the person behind an event and says their score and which lines of the agreement they meet."""
