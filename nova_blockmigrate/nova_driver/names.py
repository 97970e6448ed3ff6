"""Looks at the Nova around us: whether it is a version that is known here, and has every name that is used (`needed`)."""

from __future__ import annotations

import importlib
from typing import Any

import nova.conf
from nova import baserpc, exception, objects
from nova.compute import rpcapi as compute_rpcapi
from nova.compute import utils as compute_utils
from nova.scheduler.client import report
from nova.virt.libvirt import guest as libvirt_guest
from nova.virt.libvirt import utils as libvirt_utils

from nova_blockmigrate.nova_driver import needed


def refuse_unknown_version(version: str) -> None:
    """
    :raises InvalidConfiguration: this Nova is not one that is known here.
    """
    if problem := needed.problem_of_version(version):
        raise exception.InvalidConfiguration(f"blockmigrate.LibvirtDriver: {problem}")


def refuse_unknown_nova(driver: Any, manager: Any, host: Any) -> None:
    """`driver` is the class of Nova's driver; `manager` and `host` are objects: Nova's compute manager, and its libvirt host.

    :raises InvalidConfiguration: something is not as it is needed.
    """
    if manager is None:
        raise exception.InvalidConfiguration("blockmigrate.LibvirtDriver: the virtapi of Nova's compute manager has no _compute")
    if found := _problems(driver, type(manager), host):
        raise exception.InvalidConfiguration(f"blockmigrate.LibvirtDriver: Nova is not as it should be: {'; '.join(found)}")


def _problems(driver: Any, manager: Any, host: Any) -> list[str]:
    modules = {name: importlib.import_module(name) for name in needed.NAMES}
    return [
        *(words for name, module in modules.items() for words in needed.missing(module, needed.NAMES[name].split())),
        *needed.problems(driver, needed.DRIVER),
        *needed.problems(manager, needed.MANAGER),
        *needed.problems(libvirt_guest.Guest, needed.GUEST),
        *needed.problems(type(host), needed.HOST),
        *needed.missing(host, needed.HOST_ATTRIBUTES),
        *needed.problems(compute_rpcapi.ComputeAPI, needed.COMPUTE_API),
        *needed.missing(compute_rpcapi.ComputeAPI, needed.RPC_CLIENT),
        *needed.problems(report.SchedulerReportClient, needed.REPORT_CLIENT),
        *needed.problems(baserpc.BaseRPCAPI, needed.BASE_RPC),
        *needed.problems(compute_utils.EventReporter, needed.EVENT_REPORTER),
        *needed.problems(objects.Migration, needed.MIGRATION),
        *needed.missing(objects.Migration.fields, needed.MIGRATION_FIELDS),
        *needed.problems(objects.Instance, needed.INSTANCE),
        *needed.missing(objects.Instance.fields, needed.INSTANCE_FIELDS),
        *needed.problems(objects.BlockDeviceMappingList, needed.BLOCK_DEVICES),
        *needed.problems(objects.MigrationList, needed.MIGRATION_LIST),
        *needed.problems(libvirt_utils, needed.UTILS),
        *needed.missing(objects.LibvirtLiveMigrateData.fields, needed.MIGRATE_DATA),
        *needed.missing(nova.conf.CONF.libvirt, needed.OPTIONS),
    ]
