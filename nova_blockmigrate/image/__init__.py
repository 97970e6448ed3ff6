"""Image sources, and the cache of base images on a host."""
