# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API over plain paths. Private to this collection.

Source: "Kubernetes API Concepts" (kubernetes.io/docs/reference/using-api/api-concepts) for watches, dry run and
resource versions; RFC 6902 for JSON Patch.
"""

from __future__ import annotations

import json
import re
import threading
import typing as t
from urllib.parse import urlencode

from .._errors import (
    BlueGreenError,
    ConflictError,
    DeniedError,
    InvalidError,
    MissingError,
    TimeLimitError,
    UnreachableError,
)
from .._requires import require_urllib3
from .._wait import SYSTEM_CLOCK, Clock
from .connection import Server, find_server
from .options import CONNECTION_SPEC

Json = dict[str, t.Any]
Query = t.Mapping[str, t.Any]

BACKOFF = 0.1
"""Seconds before the first repetition; twice as many before each further one, up to LONGEST_BACKOFF."""
LONGEST_BACKOFF = 2.0
AT_ONCE = 32
"""Connections kept open to one server."""
CLOSED_BY_OURSELVES = 2.0
"""Seconds that a watch may last beyond those it was asked to."""
MANAGER = "bluegreen.deploy"
OURS: Query = {"fieldManager": MANAGER}
"""Managed fields name their owner; without a name they show the HTTP library, and nobody knows who that was."""
_RBAC = re.compile(r'User "[^"]*" cannot \w+')
"""How a missing right is told; admission control answers 403, too."""
SPOKEN = {"accept": "application/json", "user-agent": MANAGER}
JSON_PATCH = "application/json-patch+json"


class LostAnswerError(UnreachableError):
    """A change was sent, and nobody knows whether it was made: look before it is made again."""


class ExpiredError(BlueGreenError):
    """What a watch was to start from is forgotten: list again (410)."""


class RefusedContentError(BlueGreenError):
    """What was sent is not valid (422) or too large (413), or one of the tests of a JSON Patch does not hold."""


class _UnauthorizedError(DeniedError):
    """401"""


class _AgainError(Exception):
    """Not this time."""

    def __init__(self, why: BlueGreenError, wait: float = 0.0) -> None:
        self.why, self.wait = why, wait
        super().__init__(why.found)


class Client:
    """One API server, whose connections are kept; for any number of threads.

    ``timeout``: seconds for one question with all its repetitions. What has surely not been made is repeated, and
    so is what changes nothing. A refused token is asked for once more, as it may have run out (401).
    Raises ``denied`` (401, 403), ``missing`` (404), ``conflict`` (409), ``unreachable``, ``timeout`` or ``failed``,
    in the words of the server where it has any.
    """

    def __init__(self, find: t.Callable[[], Server], timeout: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._find, self._timeout, self._clock = find, timeout, clock
        self._renewing = threading.Lock()
        self._use(find())

    @property
    def namespace(self) -> str:
        """Where whatever names none is."""
        return self._server.namespace

    def get(self, path: str, **query: t.Any) -> Json:
        return self._ask("GET", path, query)

    def create(self, path: str, body: Json) -> Json:
        return self._ask("POST", path, OURS, body)

    def replace(self, path: str, body: Json) -> Json:
        """``body`` names in C(metadata.resourceVersion) what it replaces."""
        return self._ask("PUT", path, OURS, body)

    def patch(self, path: str, operations: t.Sequence[Json], dry_run: bool = False) -> Json:
        """JSON Patch: one atomic change, made only if each C(test) in it holds. Raises ``RefusedContentError``."""
        return self._ask("PATCH", path, {**OURS, "dryRun": "All"} if dry_run else OURS, list(operations))

    def watch(self, path: str, version: str, seconds: float, **query: t.Any) -> t.Iterator[Json]:
        """Events since the version, for about so many seconds. Raises ``ExpiredError`` too."""
        answer = self._watching(path, version, seconds, query)
        try:
            yield from map(_event, self._lines(answer, path))
        finally:
            answer.close()  # it may not be at its end

    def try_to_watch(self, path: str, version: str, **query: t.Any) -> None:
        """Begin a watch, and end it at once: whether one may."""
        self._watching(path, version, 1.0, query).close()

    def _watching(self, path: str, version: str, seconds: float, query: Query) -> t.Any:
        limits = {"watch": "1", "resourceVersion": version, "timeoutSeconds": max(1, round(seconds))}
        try:
            answer = self._send("GET", path, {**query, **limits}, None, seconds + CLOSED_BY_OURSELVES)
        except _AgainError as error:
            raise error.why from None
        if answer.status == 200:
            return answer
        try:
            raise _refusal(answer.status, answer.read(), "GET", path)
        finally:
            answer.close()

    # --- One question, and its repetitions ----------------------------------------------------------------

    def _ask(self, method: str, path: str, query: Query, body: t.Any = None) -> Json:
        deadline, wait = self._clock.now() + self._timeout, BACKOFF
        server = self._server
        while True:
            try:
                return self._once(method, path, query, body)
            except _AgainError as again:
                pause = max(again.wait, wait)
                if self._clock.now() + pause > deadline:
                    raise again.why from None
                self._clock.sleep(pause)
                wait = min(2 * wait, LONGEST_BACKOFF)
            except _UnauthorizedError as error:
                if self._server is not server or not self._renewed(server):
                    raise DeniedError(error.found, error.expected, error.todo) from None

    def _once(self, method: str, path: str, query: Query, body: t.Any) -> Json:
        answer = self._send(method, path, query, body)
        if answer.status < 300:
            return _document(answer.data, path)
        refusal = _refusal(answer.status, answer.data, method, path)
        if answer.status == 429:
            raise _AgainError(refusal, _seconds(answer.headers.get("retry-after")))
        if answer.status >= 500:
            raise _AgainError(refusal) if method == "GET" else LostAnswerError(refusal.found)
        raise refusal

    def _send(self, method: str, path: str, query: Query, body: t.Any, stream: float | None = None) -> t.Any:
        library = require_urllib3()
        kind = JSON_PATCH if method == "PATCH" else "application/json"
        try:
            return self._pool.request(
                method,
                self._server.url + path + (f"?{urlencode(query)}" if query else ""),
                headers={**self._server.headers, **SPOKEN, "content-type": kind},
                body=None if body is None else json.dumps(body).encode(),
                retries=False,
                preload_content=stream is None,
                timeout=library.Timeout(connect=self._timeout, read=self._timeout if stream is None else stream),
            )
        except library.exceptions.HTTPError as error:
            raise self._unanswered(error, method) from error

    def _unanswered(self, error: Exception, method: str) -> Exception:
        library, url = require_urllib3().exceptions, self._server.url
        if isinstance(error, library.SSLError):
            return UnreachableError(
                f"{url} cannot be trusted: {error}",
                "a certificate that ca_cert or the kubeconfig vouches for",
                "Set ca_cert to the file of the cluster's own authority",
            )
        if isinstance(error, (library.NewConnectionError, library.ConnectTimeoutError, library.ProxyError)):
            return _AgainError(
                UnreachableError(
                    f"nobody answers at {url}: {_words(error)}",
                    "a Kubernetes API server",
                    "See that it runs, and the host",
                )
            )
        if method != "GET":
            return LostAnswerError(f"{url} has not answered a change that was sent to it: {_words(error)}", "an answer")
        if isinstance(error, library.TimeoutError):
            return _AgainError(
                TimeLimitError(
                    f"{url} has not answered within {self._timeout:g} s", "an answer", "Set a longer timeout"
                )
            )
        return _AgainError(UnreachableError(f"{url} closed the connection: {_words(error)}", "an answer"))

    def _lines(self, answer: t.Any, path: str) -> t.Iterator[bytes]:
        """Whole lines until the server ends the watch, or it goes silent."""
        library, pending = require_urllib3().exceptions, b""
        try:
            for piece in answer.stream(1 << 16, decode_content=True):
                *lines, pending = (pending + piece).split(b"\n")
                yield from filter(None, lines)
        except library.TimeoutError:
            return
        except library.HTTPError as error:
            raise UnreachableError(f"the watch of {path} was cut: {_words(error)}") from error

    def _renewed(self, refused: Server) -> bool:
        """Read anew who we are; false if that is what was refused."""
        with self._renewing:
            if self._server is refused:
                self._use(self._find())
        return self._server.headers != refused.headers or self._server.client_cert != refused.client_cert

    def _use(self, server: Server) -> None:
        library = require_urllib3()
        options = {
            "num_pools": 1,
            "maxsize": AT_ONCE,
            "cert_reqs": "CERT_REQUIRED" if server.validate_certs else "CERT_NONE",
            "ca_certs": server.ca_cert,
            "cert_file": server.client_cert,
            "key_file": server.client_key,
            **({"server_hostname": server.tls_name, "assert_hostname": server.tls_name} if server.tls_name else {}),
        }
        if not server.validate_certs:
            library.disable_warnings()  # who sets validate_certs to false knows
        pool = library.ProxyManager(server.proxy, **options) if server.proxy else library.PoolManager(**options)
        self._server, self._pool = server, pool


def connect(options: t.Mapping[str, t.Any]) -> Client:
    """The client of the connection options; one for all who give the same ones."""
    key = json.dumps([options.get(name) for name in CONNECTION_SPEC], sort_keys=True)
    with _CONNECTING:
        if key not in _CLIENTS:
            timeout = options["timeout"]
            if not 0 < timeout < float("inf"):
                raise InvalidError(f"timeout is {timeout:g}", "a number of seconds above 0")
            _CLIENTS[key] = Client(lambda: find_server(options), timeout)
        return _CLIENTS[key]


def connect_in(options: t.Mapping[str, t.Any]) -> tuple[Client, dict[str, t.Any]]:
    """The client, and the options with the namespace in which they are: by default that of the context."""
    client = connect(options)
    return client, {**options, "namespace": options["namespace"] or client.namespace}


_CLIENTS: dict[str, Client] = {}
_CONNECTING = threading.Lock()


class Watched:
    """What a list holds, kept up to date by a watch from where it was listed."""

    def __init__(self, client: Client, path: str, clock: Clock = SYSTEM_CLOCK, **query: t.Any) -> None:
        self._client, self._path, self._clock, self._query = client, path, clock, query
        self._items: dict[str, Json] = {}
        self._version = ""

    @property
    def items(self) -> list[Json]:
        return [*self._items.values()]

    def look(self) -> list[Json]:
        listed = self._client.get(self._path, **self._query)
        self._items = {_uid(item): item for item in listed["items"]}
        self._version = listed["metadata"]["resourceVersion"]
        return self.items

    def try_to_watch(self) -> None:
        """As far as whether one may; after ``look``."""
        self._client.try_to_watch(self._path, self._version, **self._query)

    def until(self, done: t.Callable[[list[Json]], bool], timeout: float) -> bool:
        """Watch until ``done`` says so of the items; false after ``timeout`` seconds. What was missed is listed."""
        deadline = self._clock.now() + timeout
        while True:
            if not self._version:
                self.look()
            if done(self.items):
                return True
            left = deadline - self._clock.now()
            if left <= 0:
                return False
            try:
                for event in self._client.watch(self._path, self._version, left, **self._query):
                    self._take(event)
                    if done(self.items):
                        return True
            except (ExpiredError, UnreachableError, _UnauthorizedError):
                self._version = ""  # to list asks for another token, where the one we have has run out
            self._clock.sleep(min(BACKOFF, left))  # a watch may end as soon as it has begun

    def _take(self, event: Json) -> None:
        item = event["object"]
        self._version = item["metadata"]["resourceVersion"]
        if event["type"] in ("ADDED", "MODIFIED"):
            self._items[_uid(item)] = item
        elif event["type"] == "DELETED":
            self._items.pop(_uid(item), None)


def _uid(item: Json) -> str:
    return str(item["metadata"]["uid"])


def _event(line: bytes) -> Json:
    event = _document(line, "a watch")
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        kind = ExpiredError if status.get("code") == 410 else UnreachableError
        raise kind(f"the watch ended: {status.get('message', 'no reason given')}")
    return event


def _refusal(status: int, data: bytes, method: str, path: str) -> BlueGreenError:
    """The server's own words, which name verb, resource and namespace, as an error of ours."""
    told = _told(data) or f"{method} {path} is answered with status {status}"
    if status == 401:
        return _UnauthorizedError(
            f"the API server does not know who asks: {told}",
            "credentials that it takes",
            "See whether the token or certificate has expired, and the context",
        )
    if status == 403 and not _RBAC.search(told):
        return DeniedError(
            told,
            "no objection",
            "No right is missing as far as that tells: see the webhook, policy or quota that it names, or the proxy",
        )
    if status == 403:
        return DeniedError(told, "a Role that allows it", "docs/kubernetes.md has the Role that each stage needs")
    if status == 410:
        return ExpiredError(told)
    kinds = {404: MissingError, 409: ConflictError, 413: RefusedContentError, 422: RefusedContentError}
    return kinds.get(status, BlueGreenError)(told)


def _told(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(data.decode(errors="replace").split())[:200]


def _document(data: bytes, what: str) -> Json:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise BlueGreenError(f"{what} is answered with {data[:60]!r}", "JSON of the Kubernetes API") from error
    if not isinstance(found, dict):
        raise BlueGreenError(f"{what} is answered with a {type(found).__name__}", "an object of the Kubernetes API")
    return found


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def _words(error: Exception) -> str:
    """What went wrong, without the addresses of our own objects."""
    reason = error.args[-1] if error.args else error
    return str(reason).rpartition(">: ")[2] or type(error).__name__
