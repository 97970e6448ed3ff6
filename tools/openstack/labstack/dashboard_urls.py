"""Horizon's pages, and beside them its static files, which a web server in front of it would serve."""

from django.conf import settings
from django.urls import re_path
from django.views.static import serve
from openstack_dashboard.urls import urlpatterns as pages

urlpatterns = [re_path(r"^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}), *pages]
