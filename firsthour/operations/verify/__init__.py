"""The invariants, checked on one snapshot of the database."""
