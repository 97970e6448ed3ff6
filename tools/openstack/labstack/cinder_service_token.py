"""What keystonemiddleware does with a service token, for a Cinder without Keystone: who sends one has the role "service"."""


def filter_factory(global_config, **local_config):
    """Entry for api-paste.ini."""

    def wrap(application):
        def answer(environ, start_response):
            if environ.get("HTTP_X_SERVICE_TOKEN"):
                environ["HTTP_X_SERVICE_ROLES"] = "service"
            return application(environ, start_response)

        return answer

    return wrap
