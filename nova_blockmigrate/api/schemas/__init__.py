"""JSON schemas of request bodies, with what changed by microversion."""
