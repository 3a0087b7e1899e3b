"""The event log: in SQLite or Kafka, with its intake and its dead letters."""
