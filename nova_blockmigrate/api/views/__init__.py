"""Rows as JSON, by microversion: pure functions."""
