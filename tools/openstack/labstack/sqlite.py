"""Lets services that were written for bigger databases share an SQLite file.

Of two transactions that read and then write, SQLite refuses one. To Neutron that is a deadlock like those of MySQL, and it
knows what to do then: try again.
"""

from oslo_db import exception
from oslo_db.sqlalchemy import exc_filters
from sqlalchemy import exc


def install() -> None:
    """Call before a service opens its database."""

    @exc_filters.filters("sqlite", exc.OperationalError, r"^.*database is locked.*")
    def deadlock(error, match, engine_name, is_disconnect):
        raise exception.DBDeadlock(error)
