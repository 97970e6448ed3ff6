"""nova-blockmigrate-manage: what administrators do beside the API. Each sub-command is in `cmd.administration`."""

from __future__ import annotations

import argparse
import sys

PROGRAM = "nova-blockmigrate-manage"


def main(argv: list[str] | None = None) -> int:
    from oslo_config import cfg

    from nova_blockmigrate import exceptions
    from nova_blockmigrate.cmd import administration

    parser = argparse.ArgumentParser(prog=PROGRAM, description="Administers nova-blockmigrate.")
    parser.add_argument("--config-file", action="append", default=[], help="configuration file (may be repeated)")
    parser.add_argument("--debug", action="store_true", help="log what is done, and show where errors come from")
    administration.add_commands(parser.add_subparsers(metavar="COMMAND", required=True))
    arguments = parser.parse_args(argv)
    try:
        conf = administration.load(arguments.config_file, arguments.debug)
        code: int | None = arguments.run(conf, arguments)
    except (cfg.Error, exceptions.BlockMigrateError, OSError, ValueError, *administration.DATABASE_ERRORS) as error:
        if arguments.debug:
            raise
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        if isinstance(error, administration.DATABASE_ERRORS):
            print(f"Has `{PROGRAM} db sync` been run, and is [database] connection right?", file=sys.stderr)
        return 1
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
