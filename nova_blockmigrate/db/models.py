"""Tables. Names of tables and columns are Nova's where Nova has them.

Rows leave a session detached and serve as typed, read-only values; whoever changes one does so through `queries`.
Times are UTC without time zone, to the second or better, as Nova keeps them.
"""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

from nova_blockmigrate.objects import MigrationStatus, PowerState, SegmentKind, VifType


def utcnow() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Base(orm.DeclarativeBase):
    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # (type_annotation_map keeps columns portable: MariaDB needs lengths and microseconds said)
    type_annotation_map = {
        str: sa.String(255),
        dict[str, Any]: sa.JSON,
        list[Any]: sa.JSON,
        datetime.datetime: sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"),
    }


class Timestamps:
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(default=utcnow)
    updated_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(onupdate=utcnow)


class Service(Base, Timestamps):
    """One running (or once running) service on one host; up while it reports."""

    __tablename__ = "services"
    __table_args__ = (sa.UniqueConstraint("host", "binary"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    host: orm.Mapped[str]
    binary: orm.Mapped[str]
    """Nova's name of it: nova-compute, nova-conductor: clients filter by that."""
    report_count: orm.Mapped[int] = orm.mapped_column(default=0)
    last_seen_up: orm.Mapped[datetime.datetime | None]
    disabled: orm.Mapped[bool] = orm.mapped_column(default=False)
    disabled_reason: orm.Mapped[str | None]
    forced_down: orm.Mapped[bool] = orm.mapped_column(default=False)


class ComputeNode(Base, Timestamps):
    """A hypervisor and what it has, as its compute service last reported (`objects.HostResources`)."""

    __tablename__ = "compute_nodes"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    service_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("services.id"))
    host: orm.Mapped[str] = orm.mapped_column(unique=True)
    hypervisor_hostname: orm.Mapped[str]
    hypervisor_type: orm.Mapped[str]
    hypervisor_version: orm.Mapped[int]
    libvirt_version: orm.Mapped[int]
    host_ip: orm.Mapped[str]
    vcpus: orm.Mapped[int]
    vcpus_used: orm.Mapped[int]
    memory_mib: orm.Mapped[int]
    memory_used_mib: orm.Mapped[int]
    disk_gib: orm.Mapped[int]
    disk_used_gib: orm.Mapped[int]
    disk_free_bytes: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    running_vms: orm.Mapped[int]
    cpu_info: orm.Mapped[str] = orm.mapped_column(sa.Text)
    uptime: orm.Mapped[str] = orm.mapped_column(sa.Text, default="")

    service: orm.Mapped[Service] = orm.relationship(lazy="joined")


class Flavor(Base, Timestamps):
    __tablename__ = "flavors"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    flavorid: orm.Mapped[str] = orm.mapped_column(unique=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    memory_mib: orm.Mapped[int]
    vcpus: orm.Mapped[int]
    root_gib: orm.Mapped[int]
    is_public: orm.Mapped[bool] = orm.mapped_column(default=True)
    disabled: orm.Mapped[bool] = orm.mapped_column(default=False)
    description: orm.Mapped[str | None]
    extra_specs: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)


class Image(Base, Timestamps):
    """An image of the embedded image source: the file lies in `[image] local_directory`, named by its id."""

    __tablename__ = "images"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    disk_format: orm.Mapped[str]
    size_bytes: orm.Mapped[int] = orm.mapped_column(sa.BigInteger)
    sha256: orm.Mapped[str] = orm.mapped_column(sa.String(64))
    min_disk_gib: orm.Mapped[int] = orm.mapped_column(default=0)
    min_ram_mib: orm.Mapped[int] = orm.mapped_column(default=0)


class Network(Base, Timestamps):
    """A network of the embedded kind: a bridge of the same name on every host, what carries it between them, and a range of
    addresses."""

    __tablename__ = "networks"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    bridge: orm.Mapped[str]
    cidr: orm.Mapped[str]
    gateway: orm.Mapped[str]
    mtu: orm.Mapped[int] = orm.mapped_column(default=1500)
    segment_kind: orm.Mapped[str] = orm.mapped_column(default=SegmentKind.FLAT.value)
    segment_id: orm.Mapped[int] = orm.mapped_column(default=0)
    physical_network: orm.Mapped[str] = orm.mapped_column(default="")
    port_security: orm.Mapped[bool] = orm.mapped_column(default=True)
    """Whether servers on it are guarded by security groups and against using addresses that are not theirs."""
    vif_type: orm.Mapped[str] = orm.mapped_column(default=VifType.BRIDGE.value)
    """Whose the bridge is: the kernel's ("bridge") or Open vSwitch's ("ovs")."""


class Port(Base, Timestamps):
    """A server's place on a network."""

    __tablename__ = "ports"
    __table_args__ = (sa.UniqueConstraint("network_id", "ip_address"), sa.UniqueConstraint("network_id", "mac_address"))

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    network_id: orm.Mapped[str] = orm.mapped_column(sa.ForeignKey("networks.id"))
    instance_id: orm.Mapped[int | None] = orm.mapped_column(sa.ForeignKey("instances.id"), index=True)
    mac_address: orm.Mapped[str]
    ip_address: orm.Mapped[str]

    network: orm.Mapped[Network] = orm.relationship(lazy="joined")
    security_groups: orm.Mapped[list[SecurityGroup]] = orm.relationship(
        secondary="port_security_groups", lazy="selectin", order_by="SecurityGroup.name", viewonly=True
    )


class SecurityGroup(Base, Timestamps):
    """Rules of a project, for the ports that are in the group."""

    __tablename__ = "security_groups"
    __table_args__ = (sa.UniqueConstraint("project_id", "name"),)

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    project_id: orm.Mapped[str]
    name: orm.Mapped[str]
    description: orm.Mapped[str] = orm.mapped_column(default="")


class SecurityGroupRule(Base, Timestamps):
    """What may come to, or leave, the ports of a group (`objects.SecurityRule`)."""

    __tablename__ = "security_group_rules"

    id: orm.Mapped[str] = orm.mapped_column(sa.String(36), primary_key=True)
    group_id: orm.Mapped[str] = orm.mapped_column(sa.ForeignKey("security_groups.id"), index=True)
    direction: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    ethertype: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    protocol: orm.Mapped[str] = orm.mapped_column(default="")
    port_min: orm.Mapped[int | None]
    port_max: orm.Mapped[int | None]
    remote_cidr: orm.Mapped[str] = orm.mapped_column(default="")
    remote_group_id: orm.Mapped[str | None] = orm.mapped_column(sa.ForeignKey("security_groups.id"), index=True)


class PortSecurityGroup(Base):
    """Which ports are in which groups."""

    __tablename__ = "port_security_groups"

    port_id: orm.Mapped[str] = orm.mapped_column(sa.ForeignKey("ports.id"), primary_key=True)
    group_id: orm.Mapped[str] = orm.mapped_column(sa.ForeignKey("security_groups.id"), primary_key=True, index=True)


class Instance(Base, Timestamps):
    """A server. Deleted ones keep their row (`deleted_at`), as clients may list them."""

    __tablename__ = "instances"
    __table_args__ = (
        sa.Index(None, "project_id", "deleted_at", "created_at"),
        sa.Index(None, "updated_at"),
        sa.Index(None, "host", "deleted_at"),
        sa.Index(None, "created_at", "id"),
    )

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    project_id: orm.Mapped[str]
    user_id: orm.Mapped[str]
    display_name: orm.Mapped[str] = orm.mapped_column(index=True)
    description: orm.Mapped[str | None]
    hostname: orm.Mapped[str]
    host: orm.Mapped[str | None]
    node: orm.Mapped[str | None]
    vm_state: orm.Mapped[str]
    task_state: orm.Mapped[str | None]
    power_state: orm.Mapped[int] = orm.mapped_column(default=int(PowerState.NOSTATE))
    progress: orm.Mapped[int] = orm.mapped_column(default=0)
    locked: orm.Mapped[bool] = orm.mapped_column(default=False)
    locked_reason: orm.Mapped[str | None]
    image_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36))
    image_format: orm.Mapped[str] = orm.mapped_column(default="")
    image_size_bytes: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, default=0)
    image_sha256: orm.Mapped[str] = orm.mapped_column(default="")
    flavor: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)
    """The flavor as it was at boot: flavorid, name, memory_mib, vcpus, root_gib, extra_specs."""
    memory_mib: orm.Mapped[int]
    vcpus: orm.Mapped[int]
    root_gib: orm.Mapped[int]
    availability_zone: orm.Mapped[str | None]
    requested_host: orm.Mapped[str | None]
    """Host that the user named at boot ("--availability-zone nova:HOST")."""
    server_metadata: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)
    tags: orm.Mapped[list[Any]] = orm.mapped_column(default=list)
    user_data: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    key_name: orm.Mapped[str | None]
    access_ip_v4: orm.Mapped[str | None]
    access_ip_v6: orm.Mapped[str | None]
    server_group_id: orm.Mapped[str | None] = orm.mapped_column(sa.String(36), index=True)
    reservation_id: orm.Mapped[str]
    fault: orm.Mapped[dict[str, Any] | None]
    """What the API shows as `fault` while vm_state is error: code, created, message."""
    launched_at: orm.Mapped[datetime.datetime | None]
    terminated_at: orm.Mapped[datetime.datetime | None]
    deleted_at: orm.Mapped[datetime.datetime | None]
    adopted: orm.Mapped[dict[str, Any] | None]
    """Of a guest that somebody else made: domain (its name), interfaces and volumes, in words; None for our own."""

    requested_networks: orm.Mapped[Any | None] = orm.mapped_column(sa.JSON(none_as_null=True))
    """What the request for it said, where a network service owns the ports: list of objects, "auto", "none" or None."""
    network_info: orm.Mapped[list[Any] | None] = orm.mapped_column(sa.JSON(none_as_null=True))
    """`objects.NetworkPort`s, where a network service owns the ports; None where they are rows of ours (`ports`)."""

    ports: orm.Mapped[list[Port]] = orm.relationship(lazy="selectin", order_by=Port.created_at)
    volumes: orm.Mapped[list[BlockDeviceMapping]] = orm.relationship(
        lazy="selectin", order_by="BlockDeviceMapping.id", viewonly=True
    )

    @property
    def domain_name(self) -> str:
        return str(self.adopted["domain"]) if self.adopted else f"instance-{self.id:08x}"


class BlockDeviceMapping(Base, Timestamps):
    """A volume of a server; which hosts may use it is in its attachments."""

    __tablename__ = "block_device_mappings"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    instance_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("instances.id"), index=True)
    volume_id: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    """A volume belongs to one server at a time."""
    device_name: orm.Mapped[str]
    """As clients see it: /dev/vdb."""
    delete_on_termination: orm.Mapped[bool] = orm.mapped_column(default=False)
    tag: orm.Mapped[str | None]
    state: orm.Mapped[str]
    """`objects.MappingState`."""
    busy_until: orm.Mapped[datetime.datetime | None]
    """While it is attached or detached: when whoever does it counts as dead."""
    request_id: orm.Mapped[str | None]
    """The request that attaches or detaches it."""
    global_request_id: orm.Mapped[str | None]

    attachments: orm.Mapped[list[VolumeAttachment]] = orm.relationship(
        lazy="selectin", order_by="VolumeAttachment.id", cascade="all, delete-orphan"
    )

    @property
    def target_dev(self) -> str:
        return self.device_name.removeprefix("/dev/")


class VolumeAttachment(Base, Timestamps):
    """One host's right to a volume: written before the backend is asked for it, deleted after the backend has ended it."""

    __tablename__ = "volume_attachments"
    __table_args__ = (sa.UniqueConstraint("mapping_id", "host"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    mapping_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("block_device_mappings.id"))
    host: orm.Mapped[str] = orm.mapped_column(index=True)
    attachment_id: orm.Mapped[str | None]
    """The backend's id of it; None until the backend has answered."""
    protocol: orm.Mapped[str] = orm.mapped_column(default="")
    connection: orm.Mapped[dict[str, Any] | None]
    """What the backend says of the way to the volume."""


class ServerTask(Base, Timestamps):
    """What is to be done to a server, or being done, other than moving it."""

    __tablename__ = "server_tasks"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    instance_uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    action: orm.Mapped[str]
    arguments: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)
    request_id: orm.Mapped[str]
    global_request_id: orm.Mapped[str | None]
    """The id that another service gave the request, if one did."""
    owner: orm.Mapped[str | None]
    """Conductor that does it, until the lease expires."""
    lease_expires_at: orm.Mapped[datetime.datetime | None]


class ExternalEvent(Base, Timestamps):
    """What another service said of a server (`os-server-external-events`), for who waits for it."""

    __tablename__ = "external_events"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    instance_uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), index=True)
    name: orm.Mapped[str]
    tag: orm.Mapped[str]
    status: orm.Mapped[str]


class InstanceAction(Base, Timestamps):
    """One request on a server, as `os-instance-actions` lists it."""

    __tablename__ = "instance_actions"
    __table_args__ = (sa.Index(None, "instance_uuid", "request_id"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    action: orm.Mapped[str]
    instance_uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), index=True)
    request_id: orm.Mapped[str]
    user_id: orm.Mapped[str]
    project_id: orm.Mapped[str]
    start_time: orm.Mapped[datetime.datetime] = orm.mapped_column(default=utcnow)
    finish_time: orm.Mapped[datetime.datetime | None]
    message: orm.Mapped[str | None]

    events: orm.Mapped[list[InstanceActionEvent]] = orm.relationship(lazy="raise", order_by="InstanceActionEvent.id", viewonly=True)
    """Only there when asked for (`queries.actions.get_with_events`): most who read an action do not look at them."""


class InstanceActionEvent(Base, Timestamps):
    """One part of an action: which service did it, and how it ended."""

    __tablename__ = "instance_actions_events"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    action_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("instance_actions.id"), index=True)
    event: orm.Mapped[str]
    start_time: orm.Mapped[datetime.datetime] = orm.mapped_column(default=utcnow)
    finish_time: orm.Mapped[datetime.datetime | None]
    result: orm.Mapped[str | None]
    """"Success" or "Error"; None while it runs."""
    host: orm.Mapped[str | None]
    details: orm.Mapped[str | None] = orm.mapped_column(sa.Text)


class Migration(Base, Timestamps):
    """One live migration: Nova's columns, then ours."""

    __tablename__ = "migrations"
    __table_args__ = (
        sa.Index(None, "instance_uuid", "status"),
        sa.Index(None, "source_compute", "status"),
        sa.Index(None, "dest_compute", "status"),
        sa.Index(None, "status", "lease_expires_at"),
        sa.Index(None, "created_at", "id"),
    )

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36), unique=True)
    instance_uuid: orm.Mapped[str] = orm.mapped_column(sa.String(36))
    migration_type: orm.Mapped[str] = orm.mapped_column(default="live-migration")
    status: orm.Mapped[str] = orm.mapped_column(default=MigrationStatus.ACCEPTED.value)
    source_compute: orm.Mapped[str]
    source_node: orm.Mapped[str]
    dest_compute: orm.Mapped[str | None]
    dest_node: orm.Mapped[str | None]
    dest_host: orm.Mapped[str | None]
    """The destination's IP address, as Nova shows it."""
    user_id: orm.Mapped[str]
    project_id: orm.Mapped[str]
    memory_total: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    memory_processed: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    memory_remaining: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    disk_total: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    disk_processed: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)
    disk_remaining: orm.Mapped[int | None] = orm.mapped_column(sa.BigInteger)

    request_id: orm.Mapped[str]
    global_request_id: orm.Mapped[str | None]
    requested_host: orm.Mapped[str | None]
    attempts: orm.Mapped[dict[str, Any] | None]
    """Hosts that were tried before the present one, when the conductor chose them, and why each failed."""
    block_migration: orm.Mapped[str] = orm.mapped_column(default="auto")
    """What the request said: "true", "false" or "auto"."""
    step: orm.Mapped[str] = orm.mapped_column(default="accept")
    """The step of `conductor.steps` that runs or is next."""
    rolling_back: orm.Mapped[bool] = orm.mapped_column(default=False)
    abort_requested: orm.Mapped[bool] = orm.mapped_column(default=False)
    force_complete_requested: orm.Mapped[bool] = orm.mapped_column(default=False, server_default=sa.false())
    priority: orm.Mapped[int] = orm.mapped_column(default=0, server_default=sa.text("0"))
    """In the queue: the higher, the sooner; among equals, first come first served."""
    holds_slot: orm.Mapped[bool] = orm.mapped_column(default=False)
    owner: orm.Mapped[str | None]
    """The conductor process that runs it, by host and process."""
    lease_expires_at: orm.Mapped[datetime.datetime | None]
    lease_epoch: orm.Mapped[int] = orm.mapped_column(default=0, server_default=sa.text("0"))
    """How often a conductor has taken it."""
    reason: orm.Mapped[str | None] = orm.mapped_column(sa.Text)
    """Why it failed, for a person."""
    report: orm.Mapped[list[Any] | None]
    """Findings of the checks (`objects.Finding`)."""
    guest: orm.Mapped[dict[str, Any] | None]
    """`objects.GuestDescription` as the check step found it."""
    prepared: orm.Mapped[dict[str, Any] | None]
    """`objects.PreparedDestination`."""
    outcome: orm.Mapped[dict[str, Any] | None]
    """`objects.TransferOutcome`."""
    timeline: orm.Mapped[dict[str, Any]] = orm.mapped_column(default=dict)
    """Seconds that each step took, by the step's name."""
