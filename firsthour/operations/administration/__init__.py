"""Administration over HTTP: keys, dead letters, verify and doctor."""
