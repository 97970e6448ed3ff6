"""Makes Neutron's tables on SQLite, from its models: its own migrations alter constraints, which SQLite cannot."""

import sys

import sqlalchemy
from neutron.db.migration.models import head


def main() -> None:
    engine = sqlalchemy.create_engine(sys.argv[1])
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # readers do not wait: API and RPC server are two processes
    head.get_metadata().create_all(engine)


if __name__ == "__main__":
    main()
