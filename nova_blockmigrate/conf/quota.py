"""[quota]: how much a project may have. Names are Nova's; without a setting nothing is limited."""

from oslo_config import cfg

_HELP = "{what}; -1: as many as there is room for. `nova quota-update` and `openstack quota set` set others for a project."


def _limit(name: str, default: int, what: str) -> cfg.IntOpt:
    return cfg.IntOpt(name, default=default, min=-1, help=_HELP.format(what=what))


OPTIONS = {
    "quota": [
        _limit("instances", -1, "Servers of a project"),
        _limit("cores", -1, "vCPUs of a project's servers together"),
        _limit("ram", -1, "MiB of memory of a project's servers together"),
        _limit("metadata_items", 128, "Metadata items of one server"),
        _limit("key_pairs", 100, "Key pairs of one user"),
        _limit("server_groups", 10, "Server groups of a project"),
        _limit("server_group_members", 10, "Servers in one server group"),
    ]
}
