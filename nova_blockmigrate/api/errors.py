"""Errors as answers: Nova's bodies, from the code that each error class carries."""

from __future__ import annotations

import json
import logging
from typing import Any

import falcon
import sqlalchemy.exc
from oslo_db import exception as db_exception

from nova_blockmigrate import exceptions

LOG = logging.getLogger(__name__)

_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_REMOTE_TRACEBACK = "\nTraceback (most recent call last)"


class ConductorUnavailable(exceptions.BlockMigrateError):
    code = 503
    template = "No conductor can be reached to {action}: check the message broker and nova-blockmigrate-conductor, then try again."


class RequestTooLarge(exceptions.BlockMigrateError):
    code = 413
    template = "The request's body is larger than {limit} bytes."


def body(code: int, message: str) -> dict[str, Any]:
    return {_NAMES.get(code, "computeFault"): {"code": code, "message": message}}


def message_of(error: exceptions.BlockMigrateError) -> str:
    """The message for the user; what came over RPC carries the other side's traceback behind it."""
    return error.message.split(_REMOTE_TRACEBACK, 1)[0].rstrip()


def register(app: falcon.App[Any, Any]) -> None:
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _of_falcon)
    app.add_error_handler(exceptions.BlockMigrateError, _ours)
    app.add_error_handler(db_exception.DBError, _of_database)


def _ours(request: falcon.Request, response: falcon.Response, error: exceptions.BlockMigrateError, params: Any) -> None:
    if error.code >= 500 and error.code != 503:
        _unexpected(request, response, error, params)
        return
    if error.code == 401:
        response.set_header("WWW-Authenticate", f'Keystone uri="{request.prefix}"')
    _answer(response, error.code, message_of(error))


def _of_falcon(request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, params: Any) -> None:
    code = error.status_code
    for name, value in (error.headers or {}).items() if isinstance(error.headers, dict) else ():
        response.set_header(name, value)
    texts = {404: "The resource could not be found.", 405: "The method is not allowed for this resource."}
    _answer(response, code, texts.get(code) or error.description or error.title or falcon.code_to_http_status(code))


def _of_database(request: falcon.Request, response: falcon.Response, error: db_exception.DBError, params: Any) -> None:
    """Databases differ in what they hold (lengths, ranges, characters); a value that one refuses came from the request."""
    of_values = (db_exception.DBDataError, db_exception.DBInvalidUnicodeParameter)
    if not isinstance(error, of_values) and not isinstance(error.inner_exception, sqlalchemy.exc.DataError):
        _unexpected(request, response, error, params)
        return
    LOG.warning("The database refuses a value of %s %s", request.method, request.path, exc_info=error)
    _answer(response, 400, "Invalid input: the database cannot hold a value of the request.")


def _unexpected(request: falcon.Request, response: falcon.Response, error: Exception, params: Any) -> None:
    """The border of the API: whatever else was raised is logged, and its text not given away."""
    LOG.error("Unexpected error in %s %s", request.method, request.path, exc_info=error)
    request_id = request.env.get("openstack.request_id", "of this request")
    text = f"Unexpected API Error: {type(error).__name__}. The log of nova-blockmigrate-api tells more at {request_id}."
    _answer(response, 500, text)


def _answer(response: falcon.Response, code: int, message: str) -> None:
    response.status = falcon.code_to_http_status(code)
    response.content_type = "application/json; charset=UTF-8"
    response.data = json.dumps(body(code, message)).encode()
