"""The engine of this package as the compute driver of an unmodified Nova (doc/nova-driver.rst).

Nova's libvirt driver does everything but the move itself: the copy of the guest, the switch, and what follows from both. Only
`driver`, `ending`, `answers` and `reporting` import Nova; the rest is values and our own layers.
"""
