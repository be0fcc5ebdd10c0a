# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the record takes for granted of every store. A new store is one more line in CASES."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._aws import client as aws_client
from plugins.module_utils._errors import BlueGreenError, ConflictError
from plugins.module_utils._kubernetes.client import _CLIENTS
from plugins.module_utils._kubernetes.options import CONNECTION_SPEC
from plugins.module_utils._release.registry import STORES, build_store
from plugins.module_utils._release.store import Store
from tests.cluster.cluster import Handle

from .test_dynamodb import make_table, options_of

FORK = multiprocessing.get_context("fork")
PATIENCE = 60
OLD = {"who": "the one before", "body": ["é\n\u2028\0", None, True, 1.5, 2**60]}


@dataclass(frozen=True)
class Case:
    """An app's cell that nobody has written to."""

    open: Callable[[], Store]
    """Another connection to the same cell."""
    left_over: Callable[[], list[str]]
    """What there is beside what the store needs."""


def file(folder: Path) -> Case:
    directory = folder / "made" / "here"
    options = {"type": "file", "path": str(directory), "timeout": 10.0}
    known = {"shop.json", "shop.json.previous", "shop.lock"}
    return Case(
        lambda: build_store({"store": options}, "shop"),
        lambda: sorted({path.name for path in directory.iterdir()} - known),
    )


def in_a_file(request: pytest.FixtureRequest) -> Case:
    return file(request.getfixturevalue("tmp_path"))


def in_a_config_map(request: pytest.FixtureRequest) -> Case:
    cluster, namespace = request.getfixturevalue("cluster"), request.getfixturevalue("namespace")
    options = {"type": "kubernetes", "kubeconfig": str(cluster.kubeconfig), "namespace": namespace, "timeout": 10.0}
    name = f"bluegreen-shop-{secrets.token_hex(4)}"
    defaults = dict.fromkeys(CONNECTION_SPEC)

    def left_over() -> list[str]:
        found = cluster.admin.get(f"/api/v1/namespaces/{namespace}/configmaps")["items"]
        names = {item["metadata"]["name"] for item in found if name in item["metadata"]["name"]}
        return sorted(names - {name})

    def another() -> Store:
        _CLIENTS.clear()  # another process has connections of its own
        return build_store({"store": {**defaults, **options, "name": name}}, "shop")

    return Case(another, left_over)


def in_a_table(request: pytest.FixtureRequest) -> Case:
    aws = request.getfixturevalue("aws")
    make_table(aws)
    options = {**options_of(aws), "timeout": 20.0}

    def left_over() -> list[str]:
        keys = {item["app"]["S"] for item in aws.client("dynamodb").scan(TableName=options["table"])["Items"]}
        return sorted(keys - {"shop"})

    def another() -> Store:
        aws_client._CLIENTS.clear()  # another process has connections of its own
        return build_store({"store": options}, "shop")

    return Case(another, left_over)


@pytest.fixture(scope="module")
def namespace(cluster: Handle) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


CASES = {"file": in_a_file, "kubernetes": in_a_config_map, "dynamodb": in_a_table}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param](request)


def test_every_store_is_held_to_this() -> None:
    assert list(CASES) == list(STORES)


def there(store: Store) -> tuple[Any, str]:
    stored = store.read()
    assert stored is not None
    return stored.content, stored.version


def refused(store: Store, expected: str | None) -> None:
    before = store.read()
    with pytest.raises(BlueGreenError) as caught:
        store.write({"who": "too late"}, expected)
    assert caught.value.__class__ is ConflictError
    assert store.read() == before


def test_nothing_is_there_before_the_first_write(case: Case) -> None:
    assert case.open().read() is None
    refused(case.open(), "some version")
    assert case.open().read() is None


def test_it_reads_what_it_wrote_from_anywhere(case: Case) -> None:
    version = case.open().write(OLD, None)
    assert there(case.open()) == (OLD, version)
    assert there(case.open()) == (OLD, version)


def test_only_the_first_creates(case: Case) -> None:
    case.open().write(OLD, None)
    refused(case.open(), None)


def test_only_the_version_that_was_read_is_replaced(case: Case) -> None:
    store = case.open()
    first = store.write({"n": 1}, None)
    second = store.write({"n": 2}, first)
    assert second != first
    refused(case.open(), first)
    third = case.open().write({"n": 3}, second)
    refused(store, second)
    assert there(store) == ({"n": 3}, third)
    assert case.left_over() == []


def racer(case: Case, name: str, rounds: int, together: Any, wins: Any) -> None:
    store, won = case.open(), []
    for number in range(rounds):
        stored = store.read()
        together.wait(PATIENCE)  # both have read
        try:
            store.write({"round": number, "by": name}, stored.version if stored else None)
            won.append(number)
        except ConflictError:
            pass
        together.wait(PATIENCE)  # both have written
    wins.put(won)


def test_of_two_that_write_at_once_exactly_one_wins(case: Case) -> None:
    rounds, together, wins = 100, FORK.Barrier(2), FORK.Queue()
    racers = [FORK.Process(target=racer, args=(case, name, rounds, together, wins)) for name in "ab"]
    for each in racers:
        each.start()
    won = sorted(number for _each in racers for number in wins.get(timeout=PATIENCE))
    for each in racers:
        each.join(PATIENCE)
        assert each.exitcode == 0
    assert won == list(range(rounds))
    assert case.left_over() == []


def writer(case: Case, contents: list[Any], done: Any) -> None:
    store = case.open()
    _content, version = there(store)
    for content in contents:
        version = store.write(content, version)
    done.set()


def test_a_reader_in_between_sees_one_whole_content_after_another(case: Case) -> None:
    contents = [{"n": number, "body": "x" * 5000 * (number % 7)} for number in range(100)]
    store, done = case.open(), FORK.Event()
    store.write(contents[0], None)
    child = FORK.Process(target=writer, args=(case, contents[1:], done))
    child.start()
    seen = [0]
    while not done.is_set():
        assert child.is_alive() or done.is_set()
        content, _version = there(store)
        assert content == contents[content["n"]]
        seen.append(content["n"])
    child.join(PATIENCE)
    assert seen == sorted(seen)
    assert there(store)[0] == contents[-1]
    assert case.left_over() == []
