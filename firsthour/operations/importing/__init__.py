"""The import of lists from CSV files."""
