"""Handlers, one module a resource; the same names are in `schemas` and `views`. All are loaded when the API starts."""
