"""[database]: oslo.db's own options; here only our defaults for them.

The options themselves are registered by oslo.db (`db.session.register`), as the compute service has no database.
"""

OPTIONS: dict[str, list[object]] = {}
