"""Proofs that a request comes from its source: signatures over the raw bytes, and shared secrets."""
