"""Sessions: how the API and the conductor reach the database. The compute service never does.

`configure` once per process, then `with reader() as db:` or `with writer() as db:`. Rows stay readable after the block.
A writer commits when its block ends and rolls back when it raises. Do not nest writers. PostgreSQL and MariaDB end one of two
transactions that wait for each other: wrap in `retried` what may be done again from its beginning.

SQLite specifics, all here: WAL, so that readers and the writer do not wait for each other; one idle connection for as long
as the process lives, as SQLite tidies the whole log up whenever the last connection closes (1.3 ms each time); BEGIN
IMMEDIATE for writers, as a transaction that reads first and upgrades later fails at once when another one wrote in between;
and one writer at a time in this process, because waiting for SQLite's lock happens in C and would stop the green thread
that holds it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import api as db_api
from oslo_db import options
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy import orm

from nova_blockmigrate.db import expressions

_WRITES = "nova_blockmigrate_writes"
_BUSY_TIMEOUT_MS = 30_000
_DEADLOCK_RETRIES = 10
_DEADLOCK_PAUSE_S = 0.05

Function = TypeVar("Function", bound=Callable[..., Any])


class _Database:
    """The engine of this process and what belongs to it."""

    def __init__(self, engine: sa.Engine, maker: orm.sessionmaker[orm.Session]) -> None:
        self.engine = engine
        self.maker = maker
        is_sqlite = engine.dialect.name == "sqlite"
        self.write_lock: Any = threading.RLock() if is_sqlite else contextlib.nullcontext()
        self._idle = engine.raw_connection() if is_sqlite else None
        if self._idle is not None:
            cursor = self._idle.cursor()
            cursor.execute("PRAGMA journal_mode = WAL")  # the file remembers
            cursor.execute("SELECT count(*) FROM sqlite_master").fetchall()  # only a connection that has read holds the log
            cursor.close()

    def close(self) -> None:
        if self._idle is not None:
            self._idle.close()
        self.engine.dispose()


_database: _Database | None = None


def register(conf: cfg.ConfigOpts) -> None:
    """Register oslo.db's [database] options, with our default for the connection."""
    conf.register_opts(options.database_opts, group="database")
    conf.set_default("connection", f"sqlite:///{conf.state_path}/nova-blockmigrate.sqlite", group="database")


def configure(conf: cfg.ConfigOpts) -> None:
    """Connect this process to the database that `conf` names; a second call replaces the first."""
    global _database
    register(conf)
    _make_parent_directory(conf.database.connection)
    facade = enginefacade.transaction_context()
    facade.configure(**_facade_settings(conf))
    facade.append_on_engine_create(_prepare)
    dispose()
    _database = _Database(facade.writer.get_engine(), facade.writer.get_sessionmaker())


def dispose() -> None:
    """Close all connections and forget the database."""
    global _database
    if _database is not None:
        _database.close()
        _database = None


def engine() -> sa.Engine:
    return _configured().engine


@contextlib.contextmanager
def reader() -> Iterator[orm.Session]:
    """A session that only reads, in one transaction: it sees one state of the database."""
    session = _configured().maker()
    try:
        yield session
    finally:
        session.close()


@contextlib.contextmanager
def writer() -> Iterator[orm.Session]:
    """A session that writes: one transaction, committed at the end of the block."""
    with _connected_for_writing() as connection, _configured().maker(bind=connection) as session, session.begin():
        yield session


@contextlib.contextmanager
def limited(db: orm.Session, seconds: int) -> Iterator[None]:
    """Statements in the block (with PostgreSQL until the transaction ends) fail when they take longer: those whose time a user
    decides. SQLite has no such limit."""
    dialect = db.get_bind().dialect.name
    if dialect == "postgresql":
        db.execute(sa.text(f"SET LOCAL statement_timeout = {seconds * 1000}"))
    if dialect not in ("mysql", "mariadb"):
        yield
        return
    db.execute(sa.text(f"SET SESSION max_statement_time = {seconds}"))
    try:
        yield
    finally:
        db.execute(sa.text("SET SESSION max_statement_time = DEFAULT"))


def retried(function: Function) -> Function:
    """`function`, called again when the database ended its transaction to undo a deadlock. Nothing of that was kept; what it
    did besides must bear being done again.

    :raises oslo_db.exception.DBDeadlock: it was the one to give way each time.
    """
    retry = db_api.wrap_db_retry(
        max_retries=_DEADLOCK_RETRIES, retry_interval=_DEADLOCK_PAUSE_S, max_retry_interval=1, retry_on_deadlock=True
    )
    wrapped: Function = retry(function)
    return wrapped


@contextlib.contextmanager
def schema_writer() -> Iterator[sa.Connection]:
    """A transaction that changes the schema.

    :raises RuntimeError: (SQLite) rows would refer to rows that are gone; nothing is changed.
    """
    with _connected_for_writing() as connection, _tables_replaceable(connection), connection.begin():
        yield connection
        if connection.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
            raise RuntimeError(f"the database has rows that refer to nothing: {broken}")


@contextlib.contextmanager
def _tables_replaceable(connection: sa.Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, which its foreign keys forbid while rows refer to it. They can be switched off
    outside of a transaction only, so past SQLAlchemy, which begins one with each statement."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def _connected_for_writing() -> Iterator[sa.Connection]:
    database = _configured()
    with database.write_lock, database.engine.connect() as connection:
        connection.execution_options(**{_WRITES: True})
        yield connection


def _configured() -> _Database:
    if _database is None:
        raise RuntimeError("db.session.configure has not been called")
    return _database


def _facade_settings(conf: cfg.ConfigOpts) -> dict[str, Any]:
    names = "connection connection_debug connection_recycle_time connection_trace connection_parameters max_pool_size max_overflow"
    names += " max_retries retry_interval pool_timeout mysql_sql_mode mysql_wsrep_sync_wait"
    settings = {name: conf.database[name] for name in names.split()}
    return settings | {"sqlite_fk": True, "expire_on_commit": False}


def _make_parent_directory(url: str) -> None:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        os.makedirs(os.path.dirname(os.path.abspath(parsed.database)), exist_ok=True)


def _prepare(engine: sa.Engine) -> None:
    """Teach a new engine the habits of its dialect."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _on_sqlite_connect)
        sa.event.listen(engine, "set_connection_execution_options", _on_sqlite_options)
        sa.event.listen(engine, "begin", _on_sqlite_begin)
    elif engine.dialect.name in ("mysql", "mariadb"):
        sa.event.listen(engine, "connect", _on_mysql_connect)
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", _on_postgresql_connect)
    engine.dispose()  # oslo.db has connected already, to test the address


def _on_sqlite_connect(connection: Any, record: Any) -> None:
    expressions.install(connection)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_sqlite_options(connection: sa.Connection, given: dict[str, Any]) -> None:
    if given.get(_WRITES):
        connection.info["in_transaction"] = True  # keeps oslo.db's listener from a plain BEGIN: ours comes after it


def _on_sqlite_begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _on_mysql_connect(connection: Any, record: Any) -> None:
    # with the default, REPEATABLE READ, what is read after waiting for a lock may be older than the lock
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _on_postgresql_connect(connection: Any, record: Any) -> None:
    connection.set_session(isolation_level="READ COMMITTED")  # whatever this server's default is
