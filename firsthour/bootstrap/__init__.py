"""Opens the services as one running system, on either profile."""
