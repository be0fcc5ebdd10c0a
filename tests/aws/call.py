# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call of the API: whose it is, what it asks, and how its error would be written."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import RestRouter
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

ELBV2_VERSION = "2015-12-01"
READS = ("Describe", "Get", "List", "Query", "Scan", "BatchGet", "Test")


@dataclass(frozen=True)
class Call:
    service: str
    action: str
    protocol: str
    parameters: Mapping[str, Any]
    """By the names boto3 has for them."""
    at: float = field(default_factory=time.time)

    @property
    def changes(self) -> bool:
        return not self.action.startswith(READS)

    def told(self) -> dict[str, Any]:
        return {"service": self.service, "action": self.action, "at": self.at, "parameters": self.parameters}


def read_call(environ: dict[str, Any]) -> Call:
    """``wsgi.input`` has to be one that can be read again."""
    body = environ["wsgi.input"]
    try:
        request = Request(environ)
        service = _service(request)
        action, protocol, uri = _operation(service, request)
        return Call(service, action, protocol, _parameters(service, action, protocol, uri, request))
    finally:
        body.seek(0)


def _service(request: Request) -> str:
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", request.headers.get("Authorization", ""))
    name = scope[1].lower() if scope else "unknown"
    if name == "elasticloadbalancing":  # two services under one name, told apart by the version of the API
        return "elbv2" if request.values.get("Version") == ELBV2_VERSION else "elb"
    return {"monitoring": "cloudwatch"}.get(name, name)


def _operation(service: str, request: Request) -> tuple[str, str, dict[str, Any]]:
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2], "json", {}
    if action := request.values.get("Action"):
        return action, "ec2" if service == "ec2" else "query", {}
    if service == "route53":
        try:
            operation, uri = _route53().match(request)
        except NotFound:
            return f"{request.method} {request.path}", "rest-xml", {}
        return operation.name, "rest-xml", uri
    return f"{request.method} {request.path}", "unknown", {}


@functools.cache
def _route53() -> RestRouter:
    return RestRouter(get_service_model("route53"))


def _parameters(service: str, action: str, protocol: str, uri: dict[str, Any], request: Request) -> Mapping[str, Any]:
    """As the service's model has them, or as they came where it has none for them."""
    try:
        if protocol == "json":
            return dict(json.loads(request.get_data() or b"{}"))
        operation = get_service_model(service).operation_model(action)
        parser = PROTOCOL_PARSERS[protocol](operation, map_type=dict)
        asked: Any = {"method": request.method, "values": request.values, "headers": request.headers}
        asked |= {"body": request.get_data(), "url_path": request.path, "url_params": uri}
        parsed: dict[str, Any] = parser.parse(asked)
        return parsed
    except Exception:  # noqa: BLE001 -- the log must not keep a call that nobody understands from being answered
        return {name: values[-1] for name, values in parse_qs(request.get_data(as_text=True)).items()}


def error_body(call: Call, code: str, message: str) -> tuple[str, bytes]:
    """The content type and the text of an error, in the words of the call's protocol."""
    if call.protocol == "json":
        return "application/x-amz-json-1.0", json.dumps({"__type": code, "message": message}).encode()
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if call.protocol == "ec2":
        text = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>test</RequestID></Response>"
    else:
        kind = f"<Error><Type>Sender</Type>{error}</Error>"
        text = f"<ErrorResponse>{kind}<RequestId>test</RequestId></ErrorResponse>"
    return "text/xml", text.encode()
