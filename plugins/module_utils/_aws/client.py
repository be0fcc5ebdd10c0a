# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The APIs of AWS: one session, and errors with a code. Private to this collection.

Source: docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/CommonErrors.html, and the same page of the
other services.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import typing as t

from .._errors import BlueGreenError, DeniedError, InvalidError, MissingError, UnreachableError
from .._requires import require_botocore
from .._wait import SYSTEM_CLOCK, Clock
from .connection import ATTEMPTS, AWS_SPEC, open_session, retrying
from .shared import Look, Shared

Json = dict[str, t.Any]
T = t.TypeVar("T")

MOST_LOST = 3
"""Attempts of a change of which nobody knows what has become; of one that surely was not made there are ATTEMPTS."""
LOOK = "Look what is there before you try again"
WHO_AM_I = "See aws sts get-caller-identity"

# Parts of the services' codes: each service has its own spelling.
UNKNOWN = (
    *("ExpiredToken", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "InvalidSignature", "IncompleteSignature", "AuthFailure", "MissingAuthenticationToken"),
)
DENIED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized", "OptInRequired")
BUSY = (
    *("Throttl", "RequestLimitExceeded", "TooManyRequests", "PriorRequestNotComplete", "SlowDown"),
    *("ServiceUnavailable", "ProvisionedThroughputExceeded", "BandwidthLimitExceeded"),
)
MISSING = ("NotFound", "NoSuch")
INVALID = (
    *("ValidationError", "ValidationException", "InvalidInput", "InvalidParameter", "MalformedInput"),
    *("InvalidConfigurationRequest", "InvalidLoadBalancerAction", "IncompatibleProtocols", "AssociationLimit"),
)
NOBODY = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"),
    *("UnauthorizedSSOTokenError", "SSOTokenLoadError", "NoAuthTokenError"),
)
"""Exceptions of botocore, of which an older one has not all."""


class CodedError(BlueGreenError):
    """What the service answered, where it is none of the kinds below: ``told`` is the service's own code."""

    def __init__(self, told: str, message: str) -> None:
        self.told = told
        super().__init__(message)


class BusyError(UnreachableError):
    """Nothing was done: too much is asked at once, or something before this is not done yet."""


class LostAnswerError(UnreachableError):
    """The call was sent, and nobody knows whether it was carried out: look before it is made again."""


class Aws:
    """One account and region; for any number of threads.

    Raises ``denied``, ``missing`` (the service finds it not), ``unreachable`` (also: still throttled after all
    attempts), ``invalid`` or ``failed``, in the words of the service where it has any.
    """

    def __init__(self, options: t.Mapping[str, t.Any], clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        with _translated("AWS"):
            self._session, self._with = open_session(options)
        self._clients: dict[tuple[str, int], t.Any] = {}
        self._shared: dict[tuple[str, ...], Shared[t.Any]] = {}
        self._making = threading.Lock()

    def call(self, service: str, action: str, **parameters: t.Any) -> Json:
        """``action`` in botocore's spelling, such as C(describe_listeners)."""
        with _translated(f"{service} {action}"):
            answer: Json = getattr(self._client(service), action)(**parameters)
        return answer

    def write(self, service: str, action: str, due: t.Callable[[], bool], **parameters: t.Any) -> None:
        """One attempt. Before each further one, where nothing was done or nobody knows, ``due`` looks anew: whether the
        change is still to be made. It raises ``conflict`` where somebody else has changed what it is made to.

        The library's own attempts would put it over whatever was done in between.
        """
        lost = 0
        for number in range(ATTEMPTS):
            try:
                self._send(service, action, parameters)
                return
            except BusyError:
                if number == ATTEMPTS - 1:
                    raise
            except LostAnswerError:
                lost += 1
                if not due():
                    return
                if lost == MOST_LOST:
                    raise
            self._clock.sleep(2 ** (number - 1) * (0.5 + random.random() / 2))  # noqa: S311 -- not all at once
            if not due():
                return

    def _send(self, service: str, action: str, parameters: Json) -> None:
        with _translated(f"{service} {action}"):
            getattr(self._client(service, attempts=1), action)(**parameters)

    def pages(self, service: str, action: str, key: str, **parameters: t.Any) -> list[t.Any]:
        """What is under ``key`` on all pages."""
        with _translated(f"{service} {action}"):
            found = self._client(service).get_paginator(action).paginate(**parameters)
            return [item for page in found for item in page.get(key) or ()]

    def look(self, *what: str, ask: t.Callable[[], t.Any]) -> Look[t.Any]:
        """At what all who look at the same share."""
        with self._making:
            return Look(self._shared.setdefault(what, Shared(ask)))

    def _client(self, service: str, attempts: int = 0) -> t.Any:
        """``attempts`` of each call; 0: as many as a question has."""
        attempts = attempts or ATTEMPTS
        with self._making:  # sessions are not for threads, clients are
            if (service, attempts) not in self._clients:
                config = self._with["config"].merge(retrying(attempts))
                self._clients[service, attempts] = self._session.create_client(
                    service, **{**self._with, "config": config}
                )
            return self._clients[service, attempts]


def batches(items: t.Sequence[T], many: int) -> t.Iterator[list[T]]:
    """As many at a time as a call takes."""
    for start in range(0, len(items), many):
        yield [*items[start : start + many]]


def connect(options: t.Mapping[str, t.Any]) -> Aws:
    """The client of the connection options; one for all who give the same ones."""
    key = json.dumps([options.get(name) for name in AWS_SPEC], sort_keys=True)
    with _CONNECTING:
        if key not in _CLIENTS:
            _CLIENTS[key] = Aws(options)
        return _CLIENTS[key]


_CLIENTS: dict[str, Aws] = {}
_CONNECTING = threading.Lock()


@contextlib.contextmanager
def _translated(what: str) -> t.Iterator[None]:
    """Errors of botocore as ours."""
    library = require_botocore()
    errors = library.exceptions
    try:
        yield
    except errors.ClientError as error:
        raise _answered(what, error.response) from error
    except (errors.BotoCoreError, errors.HTTPClientError) as error:
        raise _unanswered(what, error, errors) from error
    except EOFError as error:  # what getpass says where nobody types
        raise DeniedError(
            f"{what}: the profile asks for a code, as of a device for MFA, and nobody can type one here",
            "credentials without a question",
            "Get a session first, with aws sts assume-role or get-session-token, and give its keys and session_token",
        ) from error
    except OSError as error:  # a file that the profile or the environment names
        raise DeniedError(
            f"{what}: {error.filename or 'a file'}: {error.strerror or error}",
            "the files that the profile and the environment variables of AWS name, such as a token",
            WHO_AM_I,
        ) from error
    except library.parsers.ResponseParserError as error:
        words = " ".join(str(error).split())[:200]
        raise LostAnswerError(f"{what} got an answer that is not of AWS: {words}", "an answer of AWS", LOOK) from error


def _answered(what: str, response: Json) -> BlueGreenError:
    told, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code, message = str(told.get("Code", "")), " ".join(str(told.get("Message", "")).split())
    said = f"{what}: {message or 'no message'} ({code})"
    kinds: tuple[tuple[tuple[str, ...], BlueGreenError], ...] = (
        (UNKNOWN, DeniedError(said, "credentials that AWS takes", f"They may have expired. {WHO_AM_I}")),
        (DENIED, DeniedError(said, "a policy that allows it", "docs/aws.md has the policy that each stage needs")),
        (BUSY, BusyError(f"{said}, after all attempts", "an answer", "Try again when less is going on")),
        (MISSING, MissingError(said, "one that is there, in this account and region", "See region and profile")),
        (INVALID, InvalidError(said)),
    )
    found = next((error for parts, error in kinds if any(part in code for part in parts)), None)
    if found is None and (status >= 500 or code.isdecimal()):
        return LostAnswerError(said, "an answer", LOOK)
    return found or CodedError(code, said)


def _unanswered(what: str, error: Exception, errors: t.Any) -> BlueGreenError:
    said = f"{what}: {' '.join(str(error).split())}"
    if isinstance(error, tuple(getattr(errors, name) for name in NOBODY if hasattr(errors, name))):
        return DeniedError(
            said, "access_key and secret_key, a profile, a role or the environment variables of AWS", WHO_AM_I
        )
    if isinstance(error, errors.NoRegionError):
        return InvalidError(said, "region, the environment variable AWS_REGION, or a profile with one")
    if isinstance(error, (errors.ReadTimeoutError, errors.ConnectionClosedError)):
        return LostAnswerError(said, "an answer", LOOK)
    if isinstance(error, (errors.ConnectionError, errors.HTTPClientError)):
        return UnreachableError(said, "an answer", "See region, endpoint_url and the network")
    return InvalidError(said)
