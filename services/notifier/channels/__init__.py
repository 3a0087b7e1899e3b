"""The ways a page reaches a person: one module per way, all behind one protocol."""
