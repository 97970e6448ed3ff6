"""The compute service of one host: puts its parts together, starts and stops them, and reports that it lives."""

from __future__ import annotations

import functools
import pathlib

import oslo_messaging
from oslo_config import cfg
from oslo_log import log
from oslo_service import loopingcall

from nova_blockmigrate import concurrency, rpc
from nova_blockmigrate.compute.base_cleaning import BaseCleaning
from nova_blockmigrate.compute.epochs import Epochs
from nova_blockmigrate.compute.firewall import FirewallWatch
from nova_blockmigrate.compute.jobs import Jobs
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.compute.manager import ComputeManager
from nova_blockmigrate.compute.migration import MigrationJobs
from nova_blockmigrate.compute.ports import Ports
from nova_blockmigrate.compute.reporter import Reporter
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.compute.watcher import LOOK_INTERVAL_S
from nova_blockmigrate.context import logged_for, service_context
from nova_blockmigrate.network import backend
from nova_blockmigrate.virt.driver import ComputeDriver, load_driver

LOG = log.getLogger(__name__)


class ComputeService:
    """:raises ConfigurationError: (from `start`) an option cannot work; the message names it."""

    def __init__(self, conf: cfg.ConfigOpts, driver: ComputeDriver | None = None, host: str | None = None) -> None:
        self._conf = conf
        self._host = host or conf.host
        self._driver = driver or load_driver(conf)
        self._jobs = Jobs()
        self._server: oslo_messaging.MessageHandlingServer | None = None
        self._periodic: list[loopingcall.LoopingCallBase] = []

    def start(self) -> None:
        concurrency.run_native(self._driver.init_host, self._host)
        records = Records(pathlib.Path(self._conf.state_path) / "ledger" / self._host)
        ports = Ports(self._conf, backend.load(self._conf))
        migrations = MigrationJobs(self._conf, self._host, self._driver, records, ComputeAPI(self._conf), ports)
        epochs = Epochs(pathlib.Path(self._conf.state_path) / "epochs" / f"{self._host}.jsonl")
        manager = ComputeManager(self._conf, self._driver, self._host, self._jobs, migrations, records, epochs)
        self._server = rpc.server(self._conf, rpc.COMPUTE_TOPIC, self._host, manager)
        self._server.start()
        self._resume_transfers(migrations)
        reporter = Reporter(self._conf, self._host, self._driver, records, self._jobs, migrations)
        reports = loopingcall.DynamicLoopingCall(reporter.report)
        reports.start(stop_on_exception=False, periodic_interval_max=self._conf.report_interval)
        arrivals = loopingcall.FixedIntervalLoopingCall(migrations.watcher.look)
        arrivals.start(interval=LOOK_INTERVAL_S, stop_on_exception=False)
        watch = loopingcall.DynamicLoopingCall(FirewallWatch(self._conf, self._host, self._driver).look)
        watch.start(stop_on_exception=False, periodic_interval_max=self._conf.network.firewall_refresh_interval)
        self._periodic += [reports, arrivals, watch, *self._clean_bases(records)]
        LOG.info("Compute service of %s is ready", self._host)

    def stop(self) -> None:
        """Take no more requests. Transfers that run go on in libvirt, and are looked after again at the next start."""
        for call in self._periodic:
            call.stop()
        if self._server is not None:
            self._server.stop()
            self._server.wait()
        concurrency.run_native(self._driver.close)

    def _clean_bases(self, records: Records) -> list[loopingcall.LoopingCallBase]:
        options = self._conf.image_cache
        if not options.remove_unused_base_images or options.manager_interval <= 0:
            return []
        call = loopingcall.FixedIntervalLoopingCall(BaseCleaning(self._conf, self._host, self._driver, records).look)
        call.start(interval=options.manager_interval, initial_delay=options.manager_interval, stop_on_exception=False)
        return [call]

    def _resume_transfers(self, migrations: MigrationJobs) -> None:
        for plan, arguments in migrations.interrupted_transfers():
            context = service_context(plan.request_id, plan.global_request_id)
            with logged_for(context):
                LOG.warning("%s was under way when this service stopped: looking after it again", plan.label)
                work = functools.partial(migrations.run, context, "transfer", plan, arguments)
                self._jobs.run((plan.migration_uuid, "transfer"), work, wait_s=0)
