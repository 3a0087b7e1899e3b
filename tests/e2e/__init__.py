"""Real processes, real sockets, a real disk: what only a whole installation can show."""
