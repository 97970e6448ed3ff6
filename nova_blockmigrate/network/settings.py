"""What a host's configuration says about networks, as a value."""

from __future__ import annotations

import dataclasses
import os

from oslo_config import cfg


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    host: str
    book: str
    """File in which the host notes what it made for which ports."""
    interfaces: dict[str, str] = dataclasses.field(default_factory=dict)
    """Names of interfaces by the physical networks that they lead to."""
    create_bridges: bool = True
    vxlan_local_ip: str = ""
    vxlan_port: int = 4789
    vxlan_group: str = ""
    vxlan_remotes: tuple[str, ...] = ()
    tracking: str = "auto"
    mark: int = 0x10000


def read(conf: cfg.ConfigOpts, host: str) -> NetworkSettings:
    options = conf.network
    return NetworkSettings(
        host=host,
        book=os.path.join(conf.state_path, "network", f"{host}.json"),
        interfaces=dict(options.physical_interface_mappings),
        create_bridges=options.create_bridges,
        vxlan_local_ip=options.vxlan_local_ip or conf.my_ip,
        vxlan_port=options.vxlan_port,
        vxlan_group=options.vxlan_group,
        vxlan_remotes=tuple(options.vxlan_remotes),
        tracking=options.connection_tracking,
        mark=1 << options.firewall_mark_bit,
    )
