"""The guests that cases are played with: one of ours, one of ours with a volume, and one that an administrator made."""

from dataclasses import dataclass

from labkit import foreign, scenario, seed
from labkit.foreign import HOME, Disk, Foreign, shell
from labkit.lab import Lab
from labkit.scenario import Client, Server

PLAIN, WITH_VOLUME, ADOPTED = "", "with a volume", "adopted"
_NAME, _ADDRESS = "by-hand", 90


@dataclass(frozen=True)
class AdoptedServer(Server):
    """Of its files one is its own: the disk that it writes to. The others stay where its maker put them."""

    @property
    def folder(self) -> str:
        return HOME

    @property
    def disk(self) -> str:
        return f"{HOME}/own.qcow2"


@dataclass(frozen=True)
class Cast:
    """A guest on the stage."""

    kind: str
    server: Server
    volume: str = ""
    """Id of the volume that it writes to."""


def bring(lab: Lab, client: Client, kind: str, host: str) -> Cast:
    """A guest of a kind that runs on a host and answers."""
    if kind == ADOPTED:
        return Cast(kind, _adopt(lab, host))
    server = scenario.boot(lab, client, "lm001", host)
    if kind == PLAIN:
        return Cast(kind, server)
    volume = seed.manage(lab.layout, "volume", "create", "--name", "data", "--size-gib", "1")
    scenario.attach_volume(lab, client, server, volume)
    return Cast(kind, server, volume)


def _adopt(lab: Lab, host: str) -> Server:
    made = Foreign(lab, _NAME, _ADDRESS, (Disk("vda", f"{HOME}/own.qcow2"),))
    shell(lab, host, f"mkdir -p {HOME}; qemu-img create -q -f qcow2 -b {foreign.image_path(lab)} -F qcow2 {HOME}/own.qcow2 1G")
    made.define(host)
    foreign.adopt(lab, host, _NAME)
    made.guest.wait(90)
    return AdoptedServer(made.uuid, _NAME, _NAME, made.mac, made.guest)


def dismiss(lab: Lab, client: Client, cast: Cast | None, hosts: tuple[str, ...]) -> None:
    """Every server, and what else was made for this guest."""
    scenario.delete_all(lab, client)
    if cast and cast.volume:
        seed.manage(lab.layout, "volume", "delete", cast.volume)
    if cast and cast.kind == ADOPTED:
        for host in hosts:
            shell(lab, host, f"rm -rf {HOME}/{_NAME}.log")
