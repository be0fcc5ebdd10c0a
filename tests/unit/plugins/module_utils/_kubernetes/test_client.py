# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import typing as t

import pytest

pytest.importorskip("urllib3")

from plugins.module_utils import _errors as errors
from plugins.module_utils._kubernetes import client as module
from plugins.module_utils._kubernetes.client import Client, ExpiredError, LostAnswerError, RefusedContentError, Watched
from plugins.module_utils._kubernetes.connection import Server as Keys
from plugins.module_utils._wait import Clock

from .fakes import Say, Server, Time, events, refusal

TOKEN = "very-secret-token"
OK = Say({"kind": "Service"})
FORBIDDEN = 'services "shop" is forbidden: User "bob" cannot patch resource "services" in API group ""'
WEBHOOK = 'admission webhook "policy.example.com" denied the request: outside of the change window'
OPERATIONS = [{"op": "test", "path": "/spec", "value": {}}]


def keys(url: str, token: str = TOKEN) -> Keys:
    return Keys(url, {"authorization": f"Bearer {token}"})


def client_of(server: Server, time: Time | None = None, timeout: float = 5.0) -> Client:
    time = time or Time()
    return Client(lambda: keys(server.url), timeout, Clock(time.now, time.sleep))


def fails(error: type[errors.BlueGreenError], call: t.Callable[[], object]) -> str:
    with pytest.raises(errors.BlueGreenError) as caught:
        call()
    message = caught.value.message
    assert isinstance(caught.value, error), message
    assert "\n" not in message
    assert TOKEN not in message
    return message


# --- One question -----------------------------------------------------------------------------------------


def test_what_is_asked_and_how() -> None:
    with Server(OK, OK, OK, OK, OK) as server:
        client = client_of(server)
        client.get("/api/v1/pods", labelSelector="app=shop,version in (blue,green)")
        client.patch("/svc", OPERATIONS)
        client.patch("/svc", OPERATIONS, dry_run=True)
        client.create("/maps", {"a": 1})
        client.replace("/maps/x", {"a": 2})
    assert [(method, path, body) for method, path, _headers, body in server.asked] == [
        ("GET", "/api/v1/pods?labelSelector=app%3Dshop%2Cversion+in+%28blue%2Cgreen%29", None),
        ("PATCH", "/svc?fieldManager=bluegreen.deploy", OPERATIONS),
        ("PATCH", "/svc?fieldManager=bluegreen.deploy&dryRun=All", OPERATIONS),
        ("POST", "/maps?fieldManager=bluegreen.deploy", {"a": 1}),
        ("PUT", "/maps/x?fieldManager=bluegreen.deploy", {"a": 2}),
    ]
    headers = [headers for _method, _path, headers, _body in server.asked]
    assert {each["authorization"] for each in headers} == {f"Bearer {TOKEN}"}
    assert headers[1]["content-type"] == "application/json-patch+json"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (refusal(403, FORBIDDEN), errors.DeniedError, FORBIDDEN),
        (refusal(403, WEBHOOK), errors.DeniedError, f"{WEBHOOK}; expected no objection. No right is missing"),
        (refusal(404, 'services "shop" not found'), errors.MissingError, 'services "shop" not found'),
        (refusal(409, "has been modified"), errors.ConflictError, "has been modified"),
        (refusal(422, "testing value /spec failed"), RefusedContentError, "testing value /spec failed"),
        (refusal(400, "no such verb"), errors.BlueGreenError, "no such verb"),
        (Say(b"<html>\n<h1>Bad\nGateway", 404), errors.MissingError, "<html> <h1>Bad Gateway"),
        (Say(b"", 403), errors.DeniedError, "PATCH /svc is answered with status 403"),
        (Say(b"<html>hello"), errors.BlueGreenError, "/svc is answered with b'<html>hello'"),
        (Say([1]), errors.BlueGreenError, "/svc is answered with a list"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(answer: Say, error: type[errors.BlueGreenError], said: str) -> None:
    with Server(answer) as server:
        assert fails(error, lambda: client_of(server).patch("/svc", OPERATIONS)).startswith(said)


# --- Repetitions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "slept"),
    [
        ([refusal(500, "etcd"), refusal(503, "starting")], [0.1, 0.2]),
        ([refusal(429, "too many", retry_after="3")], [3.0]),
        ([Say(then="cut"), refusal(504, "late")], [0.1, 0.2]),
    ],
)
def test_a_question_is_repeated_while_there_is_time(script: list[Say], slept: list[float]) -> None:
    time = Time()
    with Server(*script, OK) as server:
        assert client_of(server, time).get("/svc") == OK.body
    assert time.slept == slept


def test_when_the_time_is_over_the_last_reason_is_told() -> None:
    time = Time()
    with Server(*[refusal(503, "starting")] * 9) as server:
        assert fails(errors.BlueGreenError, lambda: client_of(server, time).get("/svc")) == "starting"
        assert fails(errors.BlueGreenError, lambda: client_of(server, Time(), 0.05).get("/svc")) == "starting"
    assert time.passed <= 5


def test_a_wait_that_is_longer_than_the_time_left_is_not_begun() -> None:
    time = Time()
    with Server(refusal(429, "too many", retry_after="60")) as server:
        assert fails(errors.BlueGreenError, lambda: client_of(server, time).get("/svc")) == "too many"
    assert time.slept == []


def test_a_change_that_surely_was_not_made_is_repeated() -> None:
    time = Time()
    with Server(refusal(429, "too many", retry_after="1"), OK) as server:
        assert client_of(server, time).patch("/svc", OPERATIONS) == OK.body
    assert time.slept == [1.0]


@pytest.mark.parametrize("answer", [refusal(500, "etcdserver: request timed out"), Say(then="cut"), Say(then="hang")])
def test_a_change_that_may_have_been_made_is_not_repeated(answer: Say) -> None:
    with Server(answer, OK) as server:
        fails(LostAnswerError, lambda: client_of(server, timeout=0.3).patch("/svc", OPERATIONS))
        assert len(server.asked) == 1


def test_a_server_that_hangs_runs_out_of_time() -> None:
    with Server(*[Say(then="hang")] * 3) as server:
        said = fails(errors.TimeLimitError, lambda: client_of(server, timeout=0.2).get("/svc"))
        assert said.startswith(f"{server.url} has not answered within 0.2 s")


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    time = Time()
    client = Client(lambda: keys(url), 1.0, Clock(time.now, time.sleep))
    for call in (lambda: client.get("/svc"), lambda: client.patch("/svc", OPERATIONS)):
        said = fails(errors.UnreachableError, call)
        assert said.startswith(f"nobody answers at {url}: ")
        assert "refused" in said
    assert time.slept[:3] == [0.1, 0.2, 0.4]


# --- Who we are -------------------------------------------------------------------------------------------


def test_a_token_that_ran_out_is_asked_for_once_more() -> None:
    tokens = iter(["old", "new"])
    with Server(refusal(401, "Unauthorized"), OK, OK) as server:
        client = Client(lambda: keys(server.url, next(tokens)), 5.0)
        assert client.get("/svc") == OK.body
        assert client.get("/svc") == OK.body
    assert [headers["authorization"] for _m, _p, headers, _b in server.asked] == [
        "Bearer old",
        "Bearer new",
        "Bearer new",
    ]


def test_a_token_that_stays_refused_is_named_so() -> None:
    with Server(refusal(401, "Unauthorized")) as server:
        said = fails(errors.DeniedError, lambda: client_of(server).get("/svc"))
        assert said.startswith("the API server does not know who asks: Unauthorized")
    tokens = iter(["old", "new"])
    with Server(refusal(401, "Unauthorized"), refusal(401, "Unauthorized")) as server:
        fails(errors.DeniedError, lambda: Client(lambda: keys(server.url, next(tokens)), 5.0).get("/svc"))


def test_no_key_is_in_what_is_shown_of_it() -> None:
    assert TOKEN not in repr(keys("http://nowhere"))


# --- Watching ---------------------------------------------------------------------------------------------


def pod(name: str, version: int, **more: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}, **more}


def listed(*items: t.Any, version: str = "10") -> Say:
    return Say({"metadata": {"resourceVersion": version}, "items": list(items)})


def names(items: list[dict[str, t.Any]]) -> set[str]:
    return {item["metadata"]["name"] for item in items}


def event(kind: str, item: t.Any) -> dict[str, t.Any]:
    return {"type": kind, "object": item}


GONE = event("ERROR", {"code": 410, "message": "too old resource version"})
BOOKMARK = event("BOOKMARK", {"metadata": {"resourceVersion": "99"}})


def test_what_is_there_already_needs_no_watch() -> None:
    with Server(listed(pod("a", 1))) as server:
        watched = Watched(client_of(server), "/pods", labelSelector="app=shop")
        assert watched.until(lambda items: names(items) == {"a"}, 5)
    assert [path for _m, path, _h, _b in server.asked] == ["/pods?labelSelector=app%3Dshop"]


def test_it_is_watched_from_where_it_was_listed() -> None:
    changes = events(
        event("ADDED", pod("b", 11)), event("DELETED", pod("a", 12)), BOOKMARK, event("ADDED", pod("c", 13))
    )
    with Server(listed(pod("a", 1)), changes) as server:
        watched = Watched(client_of(server), "/pods")
        assert watched.until(lambda items: names(items) == {"b"}, 5)
        assert names(watched.items) == {"b"}
    assert "resourceVersion=10" in server.asked[1][1]


@pytest.mark.parametrize(
    "trouble",
    [
        events(GONE),
        refusal(410, "too old resource version"),
        events(event("ADDED", pod("b", 11)), then="cut"),
        Say(then="cut"),
    ],
)
def test_after_a_watch_that_broke_all_is_listed_anew(trouble: Say) -> None:
    with Server(listed(pod("a", 1)), trouble, listed(pod("b", 1), pod("c", 2), version="20")) as server:
        watched = Watched(client_of(server), "/pods", Clock(sleep=lambda _seconds: None))
        assert watched.until(lambda items: names(items) == {"b", "c"}, 5)
    assert len(server.asked) == 3


def test_a_watch_that_ends_is_begun_again_from_there_and_only_until_the_time_is_over() -> None:
    time = Time()

    def wait_for(_items: object) -> bool:
        time.passed += 1
        return False

    more = [events(event("ADDED", pod(f"p{number}", 11 + number))) for number in range(9)]
    with Server(listed(), *more) as server:
        watched = Watched(client_of(server), "/pods", Clock(time.now, time.sleep))
        assert not watched.until(wait_for, 4)
    assert [path.split("resourceVersion=")[1][:2] for _m, path, _h, _b in server.asked[1:]] == ["10", "11"]


def test_a_watch_that_is_refused_says_why() -> None:
    with Server(listed(), refusal(403, FORBIDDEN)) as server:
        watched = Watched(client_of(server), "/pods")
        assert fails(errors.DeniedError, lambda: watched.until(lambda _items: False, 5)).startswith(FORBIDDEN)


def test_a_token_that_runs_out_between_list_and_watch_is_asked_for_once_more() -> None:
    tokens = iter(["old", "new", "never asked for"])
    refused = refusal(401, "Unauthorized")
    more = events(event("ADDED", pod("b", 11)))
    with Server(listed(pod("a", 1)), refused, refused, listed(pod("a", 1)), more) as server:
        client = Client(lambda: keys(server.url, next(tokens)), 5.0)
        assert Watched(client, "/pods").until(lambda items: names(items) == {"a", "b"}, 5)
    used = [headers["authorization"] for _m, _p, headers, _b in server.asked]
    assert used == ["Bearer old"] * 3 + ["Bearer new"] * 2


def test_a_silent_watch_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSED_BY_OURSELVES", 0.1)
    with Server(events(BOOKMARK, then="hang")) as server:
        assert list(client_of(server).watch("/pods", "1", 0.2)) == [BOOKMARK]


def test_what_a_watch_is_to_start_from_may_be_forgotten() -> None:
    with Server(events(GONE)) as server:
        fails(ExpiredError, lambda: list(client_of(server).watch("/pods", "1", 1)))
