"""What can go wrong, as classes: each says what happened, what was expected and what to do.

`code` is the HTTP status the API answers with; it belongs to the error, not to the handler. Names are Nova's where Nova
has the error. All of them travel over RPC (see `rpc.ALLOWED_REMOTE_MODULES`).
"""

from __future__ import annotations

from typing import Any


class BlockMigrateError(Exception):
    """Base of all our errors. `template` is filled with the keyword arguments, unless a message is given."""

    code = 500
    template = "An unknown error occurred."

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs  # oslo.messaging sends args and kwargs along
        super().__init__(message or self.template.format(**kwargs))

    @property
    def message(self) -> str:
        return str(self.args[0])


# --- the request -----------------------------------------------------------------------------------------------------


class Invalid(BlockMigrateError):
    code = 400
    template = "The request is not acceptable."


class ValidationError(Invalid):
    template = "Invalid input: {detail}"


class Unauthorized(BlockMigrateError):
    code = 401
    template = "The request you have made requires authentication: send a valid token in X-Auth-Token."


class Forbidden(BlockMigrateError):
    code = 403
    template = "Policy doesn't allow {action} to be performed."


class NotFound(BlockMigrateError):
    code = 404
    template = "Resource could not be found."


class Conflict(BlockMigrateError):
    code = 409
    template = "The request conflicts with the present state."


class InstanceNotFound(NotFound):
    template = "Instance {instance_id} could not be found."


class MigrationNotFound(NotFound):
    template = "Migration {migration_id} could not be found."


class MigrationNotFoundForInstance(NotFound):
    template = "Migration {migration_id} not found for instance {instance_id}"


class FlavorNotFound(NotFound):
    template = "Flavor {flavor_id} could not be found."


class ImageNotFound(NotFound):
    template = "Image {image_id} could not be found."


class ImageNotActive(Invalid):
    template = "Image {image_id} is not active: its status is {status}."


class ImageUnacceptable(Invalid):
    template = "Image {image_id} is unacceptable: {reason}"


class FlavorTooSmall(Invalid):
    template = "Flavor {flavor} is too small for image {image}: {needed} needed."


class ImageServiceError(BlockMigrateError):
    code = 503
    template = "Glance could not {action}: {reason}"


class ImageServiceUnavailable(BlockMigrateError):
    code = 503
    template = (
        "Glance could not be asked to {action}: {reason}. Check that glance-api answers, and the [glance] options of this service."
    )


class ImageCorrupt(BlockMigrateError):
    template = "Image {image_id} cannot be used: {reason}"


class NetworkNotFound(NotFound):
    template = "Network {network_id} could not be found."


class VolumeNotFound(NotFound):
    template = "Volume {volume_id} could not be found."


class VolumeAttachmentNotFound(NotFound):
    template = "Volume {volume_id} is not attached to server {server}."


class InvalidVolume(Invalid):
    template = "Volume {volume_id} cannot be used: {reason}"


class ServiceNotFound(NotFound):
    template = "Service {service_id} could not be found."


class HypervisorNotFound(NotFound):
    template = "Hypervisor {hypervisor_id} could not be found."


class ActionNotFound(NotFound):
    template = "Action for request_id {request_id} on instance {instance_id} not found"


class MarkerNotFound(Invalid):
    template = "Marker {marker} could not be found."


class NetworkServiceError(BlockMigrateError):
    template = "Neutron could not {action}: {reason}"


class NetworkServiceUnavailable(BlockMigrateError):
    template = (
        "Neutron could not be asked to {action}: {reason}. Check that neutron-server answers, and the [neutron] options of this "
        "service."
    )


class PortNotUsable(Conflict):
    template = "Port {port_id} cannot be used: {reason}"


class NoMoreAddresses(Conflict):
    template = "Network {network} has no free address left: add a larger network or delete servers on it."


class DomainNotFound(NotFound):
    template = "No domain {names} on {host}."


class NotAdopted(Conflict):
    template = "Server {server} was made here, not adopted: delete it instead of releasing it."


class NameInUse(Conflict):
    template = "A {what} named {name} exists already."


class InstanceInvalidState(Conflict):
    template = "Cannot '{method}' instance {instance_id} while it is in {attribute} {state}"


class InstanceIsLocked(Conflict):
    template = "Instance {instance_id} is locked"


class InvalidMigrationState(Invalid):
    template = (
        "Migration {migration_id} state of instance {instance_id} is {state}. Cannot {method} while the migration is in this state."
    )


# --- checks before a migration ---------------------------------------------------------------------------------------


class ComputeHostNotFound(Invalid):
    template = "Compute host {host} could not be found."


class UnableToMigrateToSelf(Invalid):
    template = "Unable to migrate instance ({instance_id}) to current host ({host}): name another host, or none to have one chosen."


class ComputeServiceUnavailable(Invalid):
    template = "Compute service of {host} is unavailable at this time."


class SecurityGroupNotFound(NotFound):
    template = "Security group {security_group_id} not found for project {project_id}."


class MigrationPreCheckError(Invalid):
    template = "Migration pre-check error: {reason}"


class NoValidHost(Invalid):
    template = "No valid host was found. {reason}"


class MigrationAborted(Conflict):
    template = "The migration was aborted on request of its user."


# --- hosts -----------------------------------------------------------------------------------------------------------


class WritesLost(BlockMigrateError):
    template = (
        "{host} could not bring {path} to its disk: {reason}. What was written may be lost, and asking the kernel again would not "
        "show that, so the source keeps the guest's disks. See what is wrong with the disk, check the guest's data, and restart "
        "nova-blockmigrate-compute on {host}: it asks once more then."
    )


class HypervisorError(BlockMigrateError):
    template = "The hypervisor refused to {action}: {reason}"


class HypervisorUnavailable(BlockMigrateError):
    template = "libvirt on {host} does not answer at {uri}: {reason}. Check that libvirtd (or virtqemud) runs there."


class GuestNotFound(NotFound):
    template = "Guest {name} does not exist in libvirt on {host}."


class NetworkError(BlockMigrateError):
    """A guest's interface cannot be connected on a host, or not guarded."""

    template = "Network on {host} could not {action}: {reason}"


class StorageError(BlockMigrateError):
    template = "Storage on {host} could not {action}: {reason}"


class FetchInterrupted(StorageError):
    """A file that was being brought was cut off; what is here of it is gone on with at the next try."""


class VolumeBackendError(BlockMigrateError):
    code = 503
    template = "The volume backend {backend} could not {action}: {reason}"


class NotEnoughMemory(BlockMigrateError):
    template = "{host} has {free_mib} MiB of memory free of claims, {needed_mib} MiB are needed."


class NotEnoughDisk(BlockMigrateError):
    template = "{host} has {free_bytes} bytes of disk free of claims, {needed_bytes} bytes are needed."


class UnsafeRemoval(BlockMigrateError):
    template = "Refusing to delete {name} on {host}: {reason}"


class LeaseSuperseded(BlockMigrateError):
    template = "Migration {migration_uuid} has another conductor by now: this one asks by {asked}, and {newest} was seen."


class ConfigurationError(BlockMigrateError):
    """Found when a service starts: it does not start."""

    template = "Configuration: {detail}"
