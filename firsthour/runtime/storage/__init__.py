"""The database: statements, units, and the state of an installation."""
