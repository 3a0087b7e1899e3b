"""Decisions about one request, without transport: a request goes in, `Accepted` or `Rejected` comes out."""
