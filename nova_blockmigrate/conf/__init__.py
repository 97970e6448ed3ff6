"""Option definitions, one module a group. Names and meanings are Nova's where Nova has the option.

`load` gives a service its configuration; `list_opts` is what the sample generator and the documentation read.
"""

from __future__ import annotations

import itertools
from typing import Any

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate.conf import (
    api,
    base,
    compute,
    conductor,
    database,
    fake,
    image,
    libvirt,
    network,
    neutron,
    notifications,
    quota,
    volume,
)

_MODULES = (base, api, quota, conductor, compute, libvirt, network, neutron, fake, image, volume, notifications, database)
PROJECT = "nova-blockmigrate"


def register(conf: cfg.ConfigOpts) -> None:
    """Register every option of ours with `conf`."""
    for module in _MODULES:
        for group, options in module.OPTIONS.items():
            conf.register_opts(options, group=None if group == "DEFAULT" else group)


def load(argv: list[str], default_config_files: list[str] | None = None) -> cfg.ConfigOpts:
    """Read configuration files and command line, and set logging up.

    The object is oslo.config's global one: oslo.messaging and others register options of theirs with no other.

    :raises oslo_config.cfg.Error: a value does not parse; the message names it.
    """
    conf = cfg.CONF
    conf.reset()
    log.register_options(conf)
    register(conf)
    conf(argv, project=PROJECT, default_config_files=default_config_files)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), "amqp=WARN", "oslo.messaging=INFO"])
    log.setup(conf, PROJECT)
    return conf


def list_opts() -> list[tuple[str, list[Any]]]:
    """Entry point `oslo.config.opts`."""
    items = itertools.chain(
        *(module.OPTIONS.items() for module in _MODULES), neutron.SHOWN_OPTIONS.items(), image.SHOWN_OPTIONS.items()
    )
    return [(group, list(options)) for group, options in items]
