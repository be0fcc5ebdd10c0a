# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

pytest.importorskip("kubernetes")

from plugins.module_utils._errors import DeniedError, InvalidError, MissingError, UnsupportedError
from plugins.module_utils._kubernetes import connection
from plugins.module_utils._kubernetes.connection import ENVIRONMENT, find_server
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC

NOTHING = dict.fromkeys(CONNECTION_SPEC)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user without a kubeconfig, on a host that is no pod."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *ENVIRONMENT.values()):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """Two contexts, of which b is the current one."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "b",
                "contexts": [{"name": n, "context": {"cluster": n, "user": n}} for n in "ab"],
                "clusters": [{"name": n, "cluster": {"server": f"https://{n}.example:6443/"}} for n in "ab"],
                "users": [{"name": n, "user": {"token": f"token-of-{n}"}} for n in "ab"],
            }
        )
    )
    return str(path)


def found(**options: t.Any) -> tuple[str, str | None]:
    server = find_server({**NOTHING, **options})
    return server.url, server.headers.get("authorization")


def test_a_kubeconfig_says_where_and_who(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(kubeconfig=kubeconfig) == ("https://b.example:6443", "Bearer token-of-b")
    assert found(kubeconfig=kubeconfig, context="a") == ("https://a.example:6443", "Bearer token-of-a")
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    # the library has read $KUBECONFIG when it was imported; what it finds then is its own affair
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", kubeconfig)
    monkeypatch.setenv("K8S_AUTH_CONTEXT", "a")
    assert found() == ("https://a.example:6443", "Bearer token-of-a")
    assert found(context="b") == ("https://b.example:6443", "Bearer token-of-b")


def test_options_count_more_than_the_kubeconfig(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"host": "https://other:1", "api_key": "mine"}
    assert found(kubeconfig=kubeconfig, **mine) == ("https://other:1", "Bearer mine")
    assert found(kubeconfig=kubeconfig, api_key="mine") == ("https://b.example:6443", "Bearer mine")
    assert found(**mine) == ("https://other:1", "Bearer mine")
    monkeypatch.setenv("K8S_AUTH_HOST", "https://third:1")
    monkeypatch.setenv("K8S_AUTH_API_KEY", "third")
    assert found() == ("https://third:1", "Bearer third")


@pytest.mark.parametrize(
    "host",
    ["http://other:1", "http://10.0.0.1", "http://127.0.0.1.other", "http://localhost.other", "http://127.0.0.1@other"],
)
def test_no_token_goes_anywhere_in_clear(kubeconfig: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of the kubeconfig, which nobody meant for that host, nor one that was given."""
    for options in ({"kubeconfig": kubeconfig}, {"api_key": "mine"}):
        with pytest.raises(InvalidError, match="the token would go in clear") as caught:
            found(host=host, **options)
        assert "token-of-b" not in caught.value.message
    monkeypatch.setenv("K8S_AUTH_HOST", host)
    with pytest.raises(InvalidError):
        found(kubeconfig=kubeconfig)


@pytest.mark.parametrize("host", ["http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001"])
def test_a_proxy_of_kubectl_on_this_machine_is_asked(kubeconfig: str, host: str) -> None:
    assert found(kubeconfig=kubeconfig, host=host)[0] == host


@pytest.mark.parametrize(("given", "validates"), [(None, True), ("no", False), ("False", False), ("true", True)])
def test_certificates_are_validated_unless_somebody_says_no(
    given: str | None, validates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {**NOTHING, "host": "https://other:1", "api_key": "mine"}
    if given:
        monkeypatch.setenv("K8S_AUTH_VERIFY_SSL", given)
    assert find_server(mine).validate_certs is validates
    assert find_server({**mine, "validate_certs": False}).validate_certs is False


def test_files_that_are_named_are_taken(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("")
    mine = {**NOTHING, "host": "https://other:1", "api_key": "mine", "ca_cert": str(tmp_path / "ca.crt")}
    assert find_server(mine).ca_cert == str(tmp_path / "ca.crt")
    with pytest.raises(DeniedError):
        find_server({**mine, "client_cert": str(tmp_path / "nowhere.crt")})


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, MissingError, "there is no way to a Kubernetes API server"),
        ({"context": "moon"}, MissingError, "there is no way to a Kubernetes API server"),
        ({"host": "cluster", "api_key": "x"}, InvalidError, "host is 'cluster'"),
    ],
)
def test_where_nothing_leads_to_a_server_it_is_said(
    options: dict[str, t.Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        found(**options)


def test_who_gives_it_all_in_options_never_pays_for_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted() -> t.NoReturn:
        raise AssertionError("the library is used")

    monkeypatch.setattr(connection, "require_kubernetes", unwanted)
    assert found(host="https://other:1", api_key="mine") == ("https://other:1", "Bearer mine")
    with pytest.raises(AssertionError, match="the library is used"):
        found(host="https://other:1")


@pytest.mark.parametrize(("bypassed", "proxy"), [("", "http://proxy:3128"), ("other", None)])
def test_a_proxy_of_the_environment_counts(bypassed: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", bypassed)
    mine = {**NOTHING, "host": "https://other:1", "api_key": "mine"}
    assert find_server(mine).proxy == proxy
    assert find_server({**mine, "proxy": "http://mine:1"}).proxy == "http://mine:1"


# --- What the kubeconfig says of the user and the context ---------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> t.Callable[..., str]:
    """A kubeconfig with one context, and what is told of its user."""

    def write(user: dict[str, t.Any], **context: str) -> str:
        path = tmp_path / "one"
        path.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", **context}}],
                    "clusters": [{"name": "c", "cluster": {"server": "https://c.example:6443/"}}],
                    "users": [{"name": "u", "user": user}],
                }
            )
        )
        return str(path)

    return write


def plugin(script: str) -> dict[str, t.Any]:
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", script],
            "interactiveMode": "Never",
        }
    }


def credential(**status: str) -> dict[str, t.Any]:
    return {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo the single sign-on has expired >&2; exit 1", "the single sign-on has expired"),
        ("echo not json", "gives no credentials: "),
        (
            'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}}\'',
            "missing token",
        ),
    ],
)
def test_a_login_command_that_gives_nothing_is_told_and_nobody_is_asked_without_credentials(
    written: t.Callable[..., str], script: str, said: str
) -> None:
    with pytest.raises(DeniedError) as caught:
        find_server({**NOTHING, "kubeconfig": written(plugin(script))})
    assert said in caught.value.found
    assert "log in anew" in caught.value.todo


def test_a_login_command_that_gives_a_token_is_taken(written: t.Callable[..., str]) -> None:
    kubeconfig = written(plugin(f"echo '{json.dumps(credential(token='t1'))}'"))
    assert found(kubeconfig=kubeconfig) == ("https://c.example:6443", "Bearer t1")


def test_who_is_to_act_as_another_does(written: t.Callable[..., str]) -> None:
    kubeconfig = written({"token": "x", "as": "deployer", "as-groups": ["release"], "as-uid": "7"})
    assert find_server({**NOTHING, "kubeconfig": kubeconfig}).headers == {
        "authorization": "Bearer x",
        "impersonate-user": "deployer",
        "impersonate-group": "release",
        "impersonate-uid": "7",
    }


@pytest.mark.parametrize("more", [{"as-groups": ["a", "b"]}, {"as-user-extra": {"reason": ["x"]}}])
def test_an_impersonation_that_cannot_be_said_is_refused(written: t.Callable[..., str], more: dict[str, t.Any]) -> None:
    with pytest.raises(UnsupportedError):
        find_server({**NOTHING, "kubeconfig": written({"token": "x", "as": "deployer", **more})})


def test_the_namespace_is_that_of_the_context(
    written: t.Callable[..., str], kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_server({**NOTHING, "kubeconfig": written({"token": "x"}, namespace="shop")}).namespace == "shop"
    assert find_server({**NOTHING, "kubeconfig": kubeconfig}).namespace == "default"
