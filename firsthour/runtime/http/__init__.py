"""HTTP: the server, its middleware, roles, and the client."""
