"""Benchmarks of both profiles against their goals."""
