"""Neutron's RPC server, as `neutron-rpc-server` starts it, on SQLite."""

from neutron.cmd import server

from labstack import sqlite


def main() -> None:
    sqlite.install()
    server.main_rpc()


if __name__ == "__main__":
    main()
