"""What looks across services: verify, demo, bench, replay."""
