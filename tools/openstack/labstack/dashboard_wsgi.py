"""Horizon with the laboratory's settings; its own entry point insists on its own."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
