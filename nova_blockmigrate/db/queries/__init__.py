"""What is asked of the database, one module a table. The first argument is a session of `db.session`: callers compose
several questions and changes in one transaction. Rows are read-only for callers; changes go through these functions.
"""
