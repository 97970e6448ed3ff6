"""The service that runs migrations: checks, queue, and one step after the other on the hosts."""
