"""Benchmarks: each prints a table, and last one line of JSON with ratios to a baseline measured in the same run."""
