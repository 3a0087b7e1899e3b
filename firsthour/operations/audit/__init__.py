"""The audit: checks each minute, apart from the timers, that no lead and no page is forgotten."""
