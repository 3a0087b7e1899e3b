"""The technical ground of the services: processing, HTTP, the event log, storage, configuration, observability."""
