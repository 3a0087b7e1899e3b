"""A real Apache Kafka and a real PostgreSQL on this machine, for developers, tests and the bench."""
