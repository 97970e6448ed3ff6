"""Has the hypervisor driver remove base images that no guest of this host needs any more, now and then."""

from __future__ import annotations

from oslo_config import cfg
from oslo_log import log

from nova_blockmigrate import concurrency, exceptions
from nova_blockmigrate.compute.ledger import Records
from nova_blockmigrate.virt.driver import ComputeDriver

LOG = log.getLogger(__name__)


class BaseCleaning:
    """The periodic task."""

    def __init__(self, conf: cfg.ConfigOpts, host: str, driver: ComputeDriver, records: Records) -> None:
        self._host, self._driver, self._records = host, driver, records
        self._minimum_age_s = conf.image_cache.remove_unused_original_minimum_age_seconds

    def look(self) -> None:
        """Nothing goes when something of this host cannot be read: it may be what needs a base."""
        try:
            removed = concurrency.run_native(self._driver.remove_unused_bases, self._records.lists_base, self._minimum_age_s)
        except (exceptions.BlockMigrateError, OSError) as error:
            LOG.warning("Bases that no guest needs are not looked for on %s: %s", self._host, error)
            return
        for path in removed:
            LOG.info("%s is removed: no guest has needed it for %d s", path, self._minimum_age_s)
