"""Takes in events over HTTP: verifies, parses and normalises them, appends them durably, then answers."""
