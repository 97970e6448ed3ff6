"""The database: models, queries, migrations of the schema. Imported by api, conductor and the manage command only."""
