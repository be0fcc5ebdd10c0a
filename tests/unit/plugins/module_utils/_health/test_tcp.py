# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

import pytest

from plugins.module_utils._health import tcp
from plugins.module_utils._health.probe import Answer


@pytest.fixture
def deaf_port() -> t.Iterator[int]:
    """A port that neither takes nor refuses: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _turn in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


def test_a_port_that_takes_a_connection_is_good(serve):
    server = serve(lambda talk: talk.stopped.wait())
    assert tcp.probe("127.0.0.1", server.port, 2) == Answer()


def test_a_closed_port_says_so(closed_port):
    assert tcp.probe("127.0.0.1", closed_port, 2) == Answer(problem="connection refused")


def test_a_port_that_does_not_answer_is_late(deaf_port):
    answer = tcp.probe("127.0.0.1", deaf_port, 0.2)
    assert answer == Answer(problem="no connection within 0.2 s", late=True)


def test_every_address_of_a_name_gets_its_share_of_the_time(monkeypatch, serve, deaf_port):
    server = serve(lambda talk: talk.stopped.wait())
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (deaf_port, server.port)]
    monkeypatch.setattr(tcp, "_resolve", lambda *_args: found)
    assert tcp.probe("two.invalid", server.port, 1) == Answer()


def test_a_name_is_looked_up(serve):
    server = serve(lambda talk: talk.stopped.wait())
    assert tcp.probe("localhost", server.port, 5) == Answer()


def test_a_slow_name_look_up_is_left_behind(monkeypatch):
    over = threading.Event()

    def slow(_host, _port, found):
        over.wait(1)
        found.put(socket.gaierror("not known"))

    monkeypatch.setattr(tcp, "_look_up", slow)
    answer = tcp.probe("slow.invalid", 80, 0.1)
    over.set()
    assert answer.late


def test_an_unknown_name_says_so(monkeypatch):
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(tcp.socket, "getaddrinfo", unknown)
    assert tcp.probe("nowhere.invalid", 80, 2).problem == "the host's name is not known"


def test_no_time_left_is_late():
    assert tcp.probe("127.0.0.1", 80, 0).late


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "connection refused"),
        (ConnectionResetError(), "connection reset"),
        (BrokenPipeError(), "connection reset"),
        (OSError(113, "No route to host"), "connection failed: No route to host"),
        (OSError(), "connection failed: OSError"),
    ],
)
def test_problems_have_words(error, words):
    assert tcp.why(error) == words
