"""What Nova loads for `compute_driver = blockmigrate.LibvirtDriver`: it looks for drivers below `nova.virt` only.

There must be no `__init__.py` in the folders above: they are Nova's.
"""

from nova_blockmigrate.nova_driver.driver import LibvirtDriver

__all__ = ["LibvirtDriver"]
