"""Django settings of the laboratory's Horizon: its own, and what a deployment has to add."""

import os
import pathlib

from openstack_dashboard.settings import *  # noqa: F403 - how Django settings build on others

FOLDER = pathlib.Path(os.environ["LAB_HORIZON_FOLDER"])
SECRET_KEY = (FOLDER / "secret").read_text()
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "labstack.dashboard_urls"
STATIC_ROOT = str(FOLDER / "static")
OPENSTACK_KEYSTONE_URL = os.environ["LAB_KEYSTONE_URL"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # the cache forgets when it is full
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
EXTERNAL_MONITORING: list[object] = []
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
