"""Volumes: who keeps them, and how a host reaches them."""
