"""The processing of records: services, workers, timers."""
