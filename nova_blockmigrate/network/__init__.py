"""What connects guests to networks on a host."""
