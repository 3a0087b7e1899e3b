"""The replay of a CSV file as submitted forms."""
