"""Versioned notifications of Nova's kind (doc/notifications.rst): `sending` puts them out, `payloads` says what is in them (pure),
`servers` and `services` know which to send when.

They tell what has happened: each is given to `sending.emit` after the transaction that made it so, and nothing waits for it.
"""
