"""Hypervisors: values in, values out. Knows nothing of RPC, database or managers."""
