"""HTTP in: verify, map, normalise, append durably, answer."""
