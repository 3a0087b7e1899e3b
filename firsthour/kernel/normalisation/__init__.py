"""One form for each identifier and description of a person or company, so that equal things are equal texts.

Each function is idempotent: its result, as argument, is returned unchanged. Messages never quote the argument.
"""
