"""The laboratory's own RabbitMQ, in the controller's namespaces, from Debian's package but apart from Debian's service."""

import contextlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

from labkit import fabric, machine
from labkit.errors import LabError
from labkit.layout import Layout

DAEMON = "rabbitmq"
USER = "nova-blockmigrate"
PORT = 5672
# Debian's own wrappers in /usr/sbin switch to the user rabbitmq, who cannot write our folders.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
LEAN = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"  # no busy waiting: the machine's few cores are for the guests


def start(layout: Layout, password: str) -> None:
    folder = _folder(layout)
    for name in ("home", "mnesia", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "enabled_plugins").write_text("[].\n")
    configuration = folder / "rabbitmq.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f"listeners.tcp.1 = 0.0.0.0:{PORT}\ndefault_user = {USER}\ndefault_pass = {password}\nlog.console = true\n"
        "log.console.level = info\n"
    )
    machine.start_daemon(layout, layout.controller, DAEMON, [str(PROGRAMS / "rabbitmq-server")], environment(layout))


def environment(layout: Layout) -> dict[str, str]:
    """What rabbitmq-server and rabbitmqctl need to find this broker and no other."""
    folder = _folder(layout)
    return {
        "HOME": str(folder / "home"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LEAN,
        "ERL_EPMD_PORT": "14369",
        "PATH": f"{PROGRAMS}:{os.defpath}",
    }


def transport_url(password: str) -> str:
    return f"rabbit://{USER}:{password}@controller:{PORT}/"


def answers(layout: Layout, password: str) -> bool:
    """Whether the broker lets our user in: an AMQP 0-9-1 login, far cheaper to ask for than a run of rabbitmqctl."""
    with contextlib.suppress(OSError, LabError):
        connection = fabric.connect(layout.controller.namespace, layout.controller.management_ip, PORT)
        with connection, connection.makefile("rb") as stream:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            if _method(stream.read(7), stream) != (10, 10):  # Connection.Start
                return False
            connection.sendall(_start_ok(password))
            return _method(stream.read(7), stream) == (10, 30)  # Connection.Tune: we are in
    return False


def _method(header: bytes, stream: BinaryIO) -> tuple[int, int]:
    if len(header) < 7:
        return (0, 0)
    (size,) = struct.unpack(">I", header[3:7])
    method: tuple[int, int] = struct.unpack(">HH", stream.read(size + 1)[:4])
    return method


def _start_ok(password: str) -> bytes:
    def short(text: str) -> bytes:
        return bytes([len(text)]) + text.encode()

    response = f"\0{USER}\0{password}".encode()
    payload = struct.pack(">HHI", 10, 11, 0) + short("PLAIN") + struct.pack(">I", len(response)) + response + short("en_US")
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def _folder(layout: Layout) -> Path:
    return layout.controller.folder / "rabbitmq"
