# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of AWS and of the library, as ours; against a server, see the integration tests."""

from __future__ import annotations

import typing as t

import pytest

pytest.importorskip("botocore")

from botocore import exceptions, parsers

from plugins.module_utils._aws.client import Aws, BusyError, CodedError, LostAnswerError, _translated
from plugins.module_utils._aws.connection import AWS_SPEC
from plugins.module_utils._errors import BlueGreenError, ConflictError
from plugins.module_utils._wait import Clock

OPTIONS = {name: option.get("default") for name, option in AWS_SPEC.items()}


def answered(code: str, status: int = 400, message: str = "no luck") -> Exception:
    told = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = exceptions.ClientError(told, "DoIt")
    return error


def translated(error: Exception) -> BlueGreenError:
    with pytest.raises(BlueGreenError) as caught, _translated("elbv2 do_it"):
        raise error
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (answered("AccessDenied", 403), "denied", "a policy that allows it. docs/aws.md"),
        (answered("AccessDeniedException"), "denied", "a policy that allows it"),
        (answered("UnauthorizedOperation"), "denied", "a policy that allows it"),
        (answered("ExpiredToken", 403), "denied", "They may have expired. See aws sts get-caller-identity"),
        (answered("ExpiredTokenException"), "denied", "They may have expired"),
        (answered("InvalidClientTokenId"), "denied", "credentials that AWS takes"),
        (answered("SignatureDoesNotMatch"), "denied", "credentials that AWS takes"),
        (answered("Throttling"), "unreachable", "after all attempts"),
        (answered("ThrottlingException"), "unreachable", "after all attempts"),
        (answered("PriorRequestNotComplete"), "unreachable", "after all attempts"),
        (answered("ServiceUnavailable", 503), "unreachable", "after all attempts"),
        (answered("TargetGroupNotFound"), "missing", "in this account and region"),
        (answered("ResourceNotFoundException"), "missing", "in this account and region"),
        (answered("NoSuchHostedZone", 404), "missing", "in this account and region"),
        (answered("ValidationError"), "invalid", "elbv2 do_it: no luck (ValidationError)"),
        (answered("TargetGroupAssociationLimit"), "invalid", "no luck"),
        (answered("InternalFailure", 500), "unreachable", "Look what is there"),
        (answered("500", 500), "unreachable", "Look what is there"),
        (answered("Strange"), "failed", "elbv2 do_it: no luck (Strange)"),
        (answered("Strange", message="a\n  b"), "failed", "elbv2 do_it: a b (Strange)"),
        (exceptions.NoCredentialsError(), "denied", "access_key and secret_key, a profile"),
        (exceptions.NoRegionError(), "invalid", "AWS_REGION"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "unreachable", "the network"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "unreachable", "the network"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "unreachable", "Look what is there"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), "unreachable", "Look what is there"),
        (exceptions.SSLError(endpoint_url="https://x", error="self signed"), "unreachable", "self signed"),
        (exceptions.ParamValidationError(report="no"), "invalid", "no"),
        (exceptions.ProfileNotFound(profile="x"), "invalid", "x"),
        (EOFError(), "denied", "asks for a code"),
        (FileNotFoundError(2, "No such file", "/var/token"), "denied", "/var/token"),
        (parsers.ResponseParserError("<html>\nno"), "unreachable", "an answer that is not of AWS: <html> no"),
    ],
)
def test_an_error_has_a_code_and_one_line(error: Exception, code: str, said: str) -> None:
    found = translated(error)
    assert (found.code, said in found.message) == (code, True), found.message


def test_what_may_have_been_done_is_told_apart() -> None:
    assert isinstance(translated(answered("InternalFailure", 500)), LostAnswerError)
    assert isinstance(translated(exceptions.ReadTimeoutError(endpoint_url="https://x")), LostAnswerError)
    assert not isinstance(translated(answered("Throttling")), LostAnswerError)
    strange = translated(answered("Strange"))
    assert isinstance(strange, CodedError)
    assert strange.told == "Strange"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"timeout": 0.0}, "timeout is 0"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"access_key": "x"}, "only one of access_key and secret_key"),
        ({"secret_key": "x"}, "only one of access_key and secret_key"),
        ({"profile": "nobody"}, "nobody"),
        ({"profile": "x", "access_key": "x", "secret_key": "y"}, "both profile and access_key"),
        ({}, "expected region"),
    ],
)
def test_options_that_cannot_be_right(options: dict[str, t.Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    with pytest.raises(BlueGreenError, match=said) as caught:
        Aws({**OPTIONS, **options}).call("elbv2", "describe_listeners")
    assert caught.value.code == "invalid"


# --- Changes ----------------------------------------------------------------------------------------------


class Scripted(Aws):
    """What befalls each attempt of a change; a lost one was made or not."""

    def __init__(self, *script: BaseException | None) -> None:
        self.script, self.slept = [*script], list[float]()
        self._clock = Clock(now=lambda: 0.0, sleep=self.slept.append)

    def _send(self, service: str, action: str, parameters: dict[str, t.Any]) -> None:
        failure = self.script.pop(0)
        if failure:
            raise failure


BUSY, LOST = BusyError("busy"), LostAnswerError("lost")


@pytest.mark.parametrize(
    ("script", "due", "left", "looked"),
    [
        ((None,), [], 0, 0),
        ((BUSY, None), [True], 0, 1),
        ((BUSY, None), [False], 1, 1),  # somebody else has made it meanwhile
        ((LOST, None), [False], 1, 1),  # it was made
        ((LOST, None), [True, True], 0, 2),
        ((LOST, None), [True, False], 1, 2),  # it was only late
    ],
)
def test_a_change_is_made_again_only_after_a_look(
    script: tuple[BaseException | None, ...], due: list[bool], left: int, looked: int
) -> None:
    aws, looks = Scripted(*script), list[bool]()

    def look() -> bool:
        looks.append(due[len(looks)])
        return looks[-1]

    aws.write("elbv2", "modify_listener", look)
    assert (len(aws.script), len(looks)) == (left, looked)


def test_somebody_elses_change_in_between_ends_it() -> None:
    def look() -> bool:
        raise ConflictError("changed")

    aws = Scripted(BUSY, None)
    with pytest.raises(ConflictError):
        aws.write("elbv2", "modify_listener", look)
    assert len(aws.script) == 1


@pytest.mark.parametrize(("failure", "attempts"), [(BUSY, 6), (LOST, 3)])
def test_after_some_attempts_the_last_failure_is_told(failure: BlueGreenError, attempts: int) -> None:
    aws = Scripted(*[failure] * 9)
    with pytest.raises(type(failure)):
        aws.write("elbv2", "modify_listener", lambda: True)
    assert len(aws.script) == 9 - attempts
    assert all(before < after for before, after in zip(aws.slept, aws.slept[2:], strict=False))
