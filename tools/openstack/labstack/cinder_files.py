"""A volume driver for Cinder whose volumes are sparse files, served by Cinder's own iSCSI targets (here: tgt), or not served at
all: hosts mount the file system on the network that they lie on.

Cinder's LVM driver needs the kernel's device mapper, which the laboratory's machine may lack; this one needs files. It is loaded
by cinder-volume, in Cinder's environment: everything else there (API, scheduler, manager, target code) is Cinder's own.
"""

import os

from cinder import interface
from cinder.volume import configuration, driver
from oslo_config import cfg
from oslo_utils import importutils

OPTIONS = [
    cfg.StrOpt("files_directory", help="Where the volumes lie."),
    cfg.StrOpt("files_export", default="", help="By what hosts mount that, if it is a GlusterFS."),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)
GIB = 1024**3


@interface.volumedriver
class FileDriver(driver.VolumeDriver):
    VERSION = "1"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        helper = self.target_mapping[self.configuration.safe_get("target_helper")]
        self.target_driver = importutils.import_object(helper, configuration=self.configuration, executor=self._execute)

    def check_for_setup_error(self):
        os.makedirs(self.configuration.files_directory, exist_ok=True)

    def _update_volume_stats(self):
        name = self.configuration.safe_get("volume_backend_name") or "files"
        self._stats = {
            "volume_backend_name": name,
            "vendor_name": "files",
            "driver_version": self.VERSION,
            "storage_protocol": "glusterfs" if self._shared else self.target_driver.storage_protocol,
            "total_capacity_gb": 100,
            "free_capacity_gb": 100,
            "thin_provisioning_support": True,
            "max_over_subscription_ratio": "20.0",
            "provisioned_capacity_gb": 0,
        }

    def _path(self, volume):
        return os.path.join(self.configuration.files_directory, volume["name"])

    def create_volume(self, volume):
        with open(self._path(volume), "xb") as file:
            file.truncate(volume["size"] * GIB)

    def delete_volume(self, volume):
        if os.path.exists(self._path(volume)):
            os.unlink(self._path(volume))

    @property
    def _shared(self):
        return bool(self.configuration.files_export)

    def ensure_export(self, context, volume):
        if self._shared:
            return None
        return self.target_driver.ensure_export(context, volume, self._path(volume))

    def create_export(self, context, volume, connector, vg=None):
        if self._shared:
            return None
        export = self.target_driver.create_export(context, volume, self._path(volume))
        return {"provider_location": export["location"], "provider_auth": export["auth"]}

    def remove_export(self, context, volume):
        if not self._shared:
            self.target_driver.remove_export(context, volume)

    def initialize_connection(self, volume, connector):
        if self._shared:
            data = {"export": self.configuration.files_export, "name": volume["name"], "format": "raw", "options": None}
            return {"driver_volume_type": "glusterfs", "data": data}
        return self.target_driver.initialize_connection(volume, connector)

    def terminate_connection(self, volume, connector, **kwargs):
        """Whether others use the volume still, so that it must stay exported (one target serves all hosts)."""
        if not self._shared:
            self.target_driver.terminate_connection(volume, connector, **kwargs)
        return len(volume.volume_attachment) > 1
