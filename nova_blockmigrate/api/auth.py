"""Who is asking: tokens of the token file, or Keystone's through keystonemiddleware."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import logging
import os
import pathlib
import secrets
import tempfile
import threading
from typing import Any, Protocol

from oslo_config import cfg

from nova_blockmigrate import exceptions
from nova_blockmigrate.context import RequestContext

LOG = logging.getLogger(__name__)
_IMPLIED_ROLES = {"admin": ("manager",), "manager": ("member",), "member": ("reader",)}


class Authenticator(Protocol):
    def authenticate(self, environ: dict[str, Any]) -> RequestContext:
        """
        :raises exceptions.Unauthorized:
        """


@dataclasses.dataclass(frozen=True)
class Token:
    """What is kept of a token: never the token itself."""

    sha256: str
    user: str
    project: str
    roles: tuple[str, ...]
    name: str
    created: str


class TokenFile:
    """The JSON file of hashed tokens. Read again whenever it changed; replaced as a whole when written."""

    def __init__(self, path: str) -> None:
        self._path = pathlib.Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """
        :raises exceptions.ConfigurationError: the file cannot be read.
        """
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            with self._lock:
                if mark != self._seen:
                    self._tokens = tuple(_parse(self._path.read_text()))
                    self._seen = mark
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise exceptions.ConfigurationError(detail=f"token file {self._path} cannot be read: {error}") from error
        return self._tokens

    def find(self, secret: str) -> Token | None:
        """The entry of `secret`. Takes as long whichever entry it is, and whether or not it is one."""
        presented = _digest(secret)
        found = None
        for token in self.tokens():
            if hmac.compare_digest(token.sha256.encode(), presented.encode()):
                found = token
        return found

    def add(self, user: str, project: str, roles: tuple[str, ...], name: str, created: str) -> str:
        """Make a token; returns the secret, which is not kept."""
        secret = secrets.token_urlsafe(32)
        self._write([*self.tokens(), Token(_digest(secret), user, project, roles, name, created)])
        return secret

    def remove(self, name: str) -> int:
        """Remove the tokens of that name (or whose hash begins with it); returns how many there were."""
        tokens = self.tokens()
        kept = [token for token in tokens if token.name != name and not (len(name) >= 8 and token.sha256.startswith(name))]
        if len(kept) != len(tokens):
            self._write(kept)
        return len(tokens) - len(kept)

    def _write(self, tokens: list[Token]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        owner = self._path.parent.stat()
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=self._path.name)  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            json.dump({"tokens": [dataclasses.asdict(token) for token in tokens]}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.chown(temporary, owner.st_uid, owner.st_gid)  # made by root, read by the API's user
        os.replace(temporary, self._path)


class TokenFileAuthenticator:
    def __init__(self, path: str) -> None:
        self._file = TokenFile(path)

    def authenticate(self, environ: dict[str, Any]) -> RequestContext:
        secret = environ.get("HTTP_X_AUTH_TOKEN", "")
        token = self._file.find(secret) if secret else None
        if token is None:
            raise exceptions.Unauthorized()
        return RequestContext(
            user_id=token.user,
            user_name=token.user,
            project_id=token.project,
            project_name=token.project,
            roles=sorted(_with_implied(token.roles)),
            request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"),
        )


class KeystoneAuthenticator:
    """Reads what keystonemiddleware found; that runs before us and leaves the decision to us."""

    def authenticate(self, environ: dict[str, Any]) -> RequestContext:
        if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
            raise exceptions.Unauthorized()
        context: RequestContext = RequestContext.from_environ(
            environ,
            request_id=environ.get("openstack.request_id"),
            global_request_id=environ.get("openstack.global_request_id"),
        )
        return context


def authenticator(conf: cfg.ConfigOpts) -> Authenticator:
    if conf.api.auth_strategy == "keystone":
        return KeystoneAuthenticator()
    return TokenFileAuthenticator(conf.api.token_file)


def wrap(application: Any, conf: cfg.ConfigOpts) -> Any:
    """Put keystonemiddleware before the application if Keystone is who says who is who."""
    if conf.api.auth_strategy != "keystone":
        return application
    from keystonemiddleware import auth_token

    return auth_token.AuthProtocol(application, {"oslo_config_config": conf, "delay_auth_decision": True})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parse(text: str) -> list[Token]:
    return [Token(**(entry | {"roles": tuple(entry["roles"])})) for entry in json.loads(text)["tokens"]]


def _with_implied(roles: tuple[str, ...]) -> set[str]:
    """Roles with those that they include: an admin is a manager, a manager a member, a member a reader."""
    found = set(roles)
    for role in roles:
        found |= _with_implied(_IMPLIED_ROLES.get(role, ()))
    return found
