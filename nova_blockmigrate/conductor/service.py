"""The conductor service: puts its parts together, starts and stops them."""

from __future__ import annotations

import threading

import oslo_messaging
from oslo_config import cfg
from oslo_log import log
from oslo_service import loopingcall

from nova_blockmigrate import rpc
from nova_blockmigrate.compute.rpcapi import ComputeAPI
from nova_blockmigrate.conductor import identity
from nova_blockmigrate.conductor.leased import Surroundings
from nova_blockmigrate.conductor.manager import ConductorManager
from nova_blockmigrate.conductor.plug_events import PlugEvents
from nova_blockmigrate.conductor.queue import SlotQueue
from nova_blockmigrate.conductor.runner import MigrationRunner
from nova_blockmigrate.conductor.server_ports import ServerPorts
from nova_blockmigrate.conductor.server_runner import ServerRunner
from nova_blockmigrate.conductor.servers import ServerTasks
from nova_blockmigrate.conductor.volumes import ServerVolumes
from nova_blockmigrate.db import models, session
from nova_blockmigrate.db.queries import services
from nova_blockmigrate.network import backend
from nova_blockmigrate.notifications import sending
from nova_blockmigrate.volume.api import load_backend

LOG = log.getLogger(__name__)

BINARY = "nova-conductor"


class ConductorService:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._stopping = threading.Event()
        self._runner: MigrationRunner | None = None
        self._server_runner: ServerRunner | None = None
        self._server: oslo_messaging.MessageHandlingServer | None = None
        self._periodic: list[loopingcall.FixedIntervalLoopingCall] = []

    def start(self) -> None:
        session.configure(self._conf)
        sending.configure(self._conf)
        computes = ComputeAPI(self._conf)
        owner = identity.of_this_process(self._conf.host)
        volumes = ServerVolumes(self._conf, computes, load_backend(self._conf), self._stopping)
        ports = ServerPorts(self._conf, backend.load(self._conf))
        plugs = PlugEvents(self._stopping)
        queue, checks = SlotQueue(self._conf, owner), threading.Semaphore(self._conf.conductor.max_parallel_checks)
        around = Surroundings(self._conf, owner, computes, self._stopping, queue, checks, volumes, ports, plugs)
        runner = self._runner = MigrationRunner(around)
        servers = ServerTasks(self._conf, computes, self._stopping, volumes, ports)
        server_runner = self._server_runner = ServerRunner(self._conf, owner, servers)
        manager = ConductorManager(self._conf, runner, servers, server_runner, computes, volumes, plugs)
        self._server = rpc.server(self._conf, rpc.CONDUCTOR_TOPIC, self._conf.host, manager)
        self._server.start()
        self._every(self._conf.report_interval, self._report)
        for each in (runner, server_runner):
            each.take_after_restart()
            self._every(self._conf.conductor.lease_time / 3, each.renew)
            self._every(self._conf.conductor.takeover_interval, each.take_over)
        self._every(self._conf.volume.watch_interval, volumes.watch)
        LOG.info("Conductor %s is ready", owner)

    def stop(self) -> None:
        """Leave what runs to other conductors: hosts go on with their jobs meanwhile."""
        if self._server is not None:
            self._server.stop()
        for call in self._periodic:
            call.stop()
        for runner in (self._runner, self._server_runner):
            if runner is not None:
                runner.give_up()
        if self._server is not None:
            self._server.wait()

    def _every(self, seconds: float, function: object) -> None:
        call = loopingcall.FixedIntervalLoopingCall(function)
        call.start(interval=seconds, stop_on_exception=False)
        self._periodic.append(call)

    def _report(self) -> None:
        with session.writer() as db:
            services.report(db, self._conf.host, BINARY, models.utcnow())
