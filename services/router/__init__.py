"""The router: qualifies leads and gives each qualified lead one owner or a place in the queue."""
