"""Pure functions from a parsed body to an event: its person, its facts, its own fields."""
