"""Connections to Kafka and PostgreSQL, and the diagnosis of those that fail."""
