"""[api]: the REST service."""

from oslo_config import cfg

OPTIONS = {
    "api": [
        cfg.HostAddressOpt("listen", default="0.0.0.0", help="Address to listen on."),  # noqa: S104 - it is there to be reached
        cfg.PortOpt("listen_port", default=8774, help="Port to listen on."),
        cfg.StrOpt(
            "auth_strategy",
            default="token_file",
            choices=[
                ("token_file", "tokens made by `nova-blockmigrate-manage token create`"),
                ("keystone", "Keystone, through keystonemiddleware and its [keystone_authtoken] options"),
            ],
            help="Who says whether a token is valid.",
        ),
        cfg.StrOpt(
            "token_file", default="/etc/nova-blockmigrate/tokens.json", help="File of hashed tokens, for auth_strategy token_file."
        ),
        cfg.IntOpt("max_limit", default=1000, min=1, help="Most items that one list request returns."),
        cfg.IntOpt("max_request_body_size", default=114688, min=1024, help="Largest request body, in bytes."),
        cfg.IntOpt(
            "client_timeout",
            default=60,
            min=1,
            help="Seconds that a client may be silent, in the middle of a request or between two of one connection.",
        ),
        cfg.IntOpt("threads", default=32, min=1, help="Requests answered at a time, where services run on native threads."),
        cfg.StrOpt("ssl_cert_file", help="Certificate to serve TLS with; empty for plain HTTP."),
        cfg.StrOpt("ssl_key_file", help="Key of `ssl_cert_file`."),
    ]
}
