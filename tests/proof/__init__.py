"""Proofs that take longer than the suite may: each has a make target."""
