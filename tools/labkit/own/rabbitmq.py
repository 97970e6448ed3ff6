"""A RabbitMQ on a free port of the loopback."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from labkit.own import daemon
from labkit.rabbitmq import LEAN, PROGRAMS

PACKAGES = ("rabbitmq-server",)
_USER = "nova-blockmigrate"
_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """A new broker in `folder`, which is made; its transport_url."""
    for name in ("home", "mnesia", "log"):
        (folder / name).mkdir(parents=True)
    port, mapper, distribution = (daemon.free_port() for _ in range(3))
    password = secrets.token_urlsafe(16)
    (folder / "enabled_plugins").write_text("[].\n")
    configuration = folder / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = {_USER}\ndefault_pass = {password}\nlog.console = true\n"
        "log.console.level = info\n"
    )
    environment = {
        "HOME": str(folder / "home"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_NODENAME": f"rabbit-{port}@localhost",
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LEAN} {_LOOPBACK}",
        "ERL_EPMD_PORT": str(mapper),
        "PATH": f"{PROGRAMS}:{os.defpath}:/usr/sbin:/sbin",
    }
    # Erlang's port mapper, which RabbitMQ would otherwise start as a daemon that outlives it
    names = ["epmd", "-port", str(mapper), "-address", "127.0.0.1"]
    with (
        daemon.running("epmd", names, folder / "epmd.log", lambda: daemon.listens(mapper), env=environment),
        daemon.running(
            "RabbitMQ", [str(PROGRAMS / "rabbitmq-server")], folder / "rabbitmq.log", lambda: daemon.listens(port), env=environment
        ),
    ):
        yield f"rabbit://{_USER}:{password}@127.0.0.1:{port}/"
