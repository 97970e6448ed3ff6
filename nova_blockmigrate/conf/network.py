"""[network]: how this host connects its guests."""

from oslo_config import cfg

OPTIONS = {
    "network": [
        cfg.DictOpt(
            "physical_interface_mappings",
            default={},
            help="Interfaces of this host by the names of the physical networks they are plugged into; example: "
            "physnet1:eth1,physnet2:bond0. Networks name the physical network, as hosts may name their interfaces differently.",
        ),
        cfg.BoolOpt(
            "create_bridges",
            default=True,
            help="Make the bridge of a network, and its VLAN or VXLAN device, when a guest needs it and it is not there; what was "
            "made goes with the last guest. If false, all of them must be there already.",
        ),
        cfg.HostAddressOpt(
            "vxlan_local_ip",
            help="Address of this host from which VXLAN packets are sent; empty: `my_ip`. Other hosts must reach it.",
        ),
        cfg.PortOpt("vxlan_port", default=4789, help="UDP port of VXLAN; the same on all hosts."),
        cfg.StrOpt(
            "vxlan_group",
            default="",
            help="Multicast address that carries what goes to all hosts of a VXLAN network; example: 239.1.1.1. Empty: it is "
            "sent to each of `vxlan_remotes` by itself.",
        ),
        cfg.ListOpt(
            "vxlan_remotes",
            default=[],
            help="Addresses (`vxlan_local_ip`) of the hosts that share VXLAN networks, when there is no `vxlan_group`. This host's "
            "own may be among them, so that the list can be the same everywhere.",
        ),
        cfg.StrOpt(
            "connection_tracking",
            default="auto",
            choices=[
                ("auto", "the bridge's own where the kernel has it, else br_netfilter"),
                ("bridge", "the bridge's own (NF_CONNTRACK_BRIDGE)"),
                ("br_netfilter", "that of IP packets, which bridged ones are made to pass (net.bridge.bridge-nf-call-iptables=1)"),
            ],
            help="How the firewall tells what belongs to a connection that was allowed.",
        ),
        cfg.IntOpt(
            "firewall_mark_bit",
            default=16,
            min=0,
            max=31,
            help="Bit of the packet mark that the firewall uses with connection_tracking br_netfilter; nobody else may use it.",
        ),
        cfg.IntOpt(
            "firewall_refresh_interval",
            default=60,
            min=1,
            help="Seconds between two looks whether the firewall still says what the security groups say: what a message did not "
            "bring, because it was lost or the host was away, is brought by this.",
        ),
    ]
}
