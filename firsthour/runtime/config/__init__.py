"""The configuration files: read, checked, and named by place."""
