"""The REST service: authenticates, authorises, validates, reads the database, casts to the conductor."""
