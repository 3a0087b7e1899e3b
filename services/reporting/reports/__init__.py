"""Reports over HTTP: each reads a model of reporting, and changes nothing but its own caches."""
