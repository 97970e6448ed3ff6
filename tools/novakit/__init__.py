"""A real OpenStack in the laboratory, broken on purpose while a guest moves, with Nova's own driver and with ours.

`tools/test nova-faults` (doc/nova-driver.rst): `cases` says what is broken and how it should end, `world` looks at what is real
afterwards, `judge` says in words what is wrong with it, `play` plays one case, `table` writes both columns into doc/.
"""
