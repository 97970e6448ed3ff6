"""Alembic runs this for every command. The connection comes from `db.schema`, never from a file."""

from alembic import context

from nova_blockmigrate.db import models, project_models  # noqa: F401 - has tables, too

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.Base.metadata,
    render_as_batch=True,  # SQLite cannot alter most columns in place
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
