# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import socket
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._errors import (
    BlueGreenError,
    DeniedError,
    InvalidError,
    MissingError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
)
from plugins.module_utils._haproxy.runtime_api import (
    PIPELINE,
    RuntimeApi,
    need_admin,
    parse_address,
    parse_version,
    word,
)

from .fakes import PROMPT, FakeSocket, Script, Talk, answering

SOON = 0.3
"""For what must run out of time; a real answer takes a thousandth of it, and gets LONG."""
LONG = 20.0


def echo(line: str) -> str:
    return f"<{line}>\n"


@pytest.fixture(params=["unix", "tcp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where a fake socket listens: each test that takes this runs over both kinds."""
    return str(tmp_path / "admin.sock") if request.param == "unix" else None


def fails(error: type[BlueGreenError], api: RuntimeApi, *commands: str) -> str:
    with pytest.raises(BlueGreenError) as caught:
        api.ask(*commands)
    assert caught.value.__class__ is error
    assert "\n" not in caught.value.message
    return caught.value.message


# --- What answers -----------------------------------------------------------------------------------------


def test_commands_are_answered_in_order_over_one_session(place: str | None) -> None:
    with FakeSocket(answering(echo), place) as server:
        api = RuntimeApi(server.address, LONG)
        assert api.ask("show info", "show stat") == ["<show info>", "<show stat>"]
        assert api.ask() == []
        assert len(server.connections) == 1
    assert server.received == b"prompt\nshow info\nshow stat\n"


def test_more_commands_than_fit_at_once_are_all_answered() -> None:
    commands = [f"set server shop/s{number} weight 100%" for number in range(2 * PIPELINE + 1)]
    with FakeSocket(answering(lambda line: line * 40)) as server:
        api = RuntimeApi(server.address, LONG)
        assert api.ask(*commands) == [command * 40 for command in commands]
    assert server.lines == commands


@pytest.mark.parametrize(
    "pieces",
    [
        (b"one\n", b"two\n", PROMPT),
        (b"one\ntwo\n\n", b">", b" "),
        (b"one\ntwo", b"\n\n> "),
        tuple(bytes([byte]) for byte in b"one\ntwo\n\n> "),
    ],
)
def test_an_answer_may_come_in_pieces(pieces: tuple[bytes, ...]) -> None:
    def script(talk: Talk) -> None:
        talk.greet()
        talk.line()
        talk.say(*pieces)
        talk.line()
        talk.say(b"three" + PROMPT)

    with FakeSocket(script) as server:
        api = RuntimeApi(server.address, LONG)
        assert api.ask("show info", "show stat") == ["one\ntwo", "three"]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    with FakeSocket(lambda talk: (talk.greet(), talk.line(), talk.say(b"caf\xe9" + PROMPT))) as server:
        api = RuntimeApi(server.address, LONG)
        assert api.ask("show info") == ["caf\N{REPLACEMENT CHARACTER}"]


def test_each_call_has_a_session_of_its_own() -> None:
    """The one of before a reload would be with the old worker, which is out of use."""
    with FakeSocket(answering(echo)) as server:
        api = RuntimeApi(server.address, LONG)
        assert [api.ask("show info"), api.ask("show info")] == [["<show info>"], ["<show info>"]]
        assert len(server.connections) == 2


def test_few_sessions_are_open_at_a_time() -> None:
    """HAProxy has ten by default, for everybody."""
    busy: list[int] = []
    most: list[int] = []

    def script(talk: Talk) -> None:
        talk.greet()
        line = talk.line()
        busy.append(talk.number)
        most.append(len(busy))
        talk.server.stopping.wait(0.02)
        busy.remove(talk.number)
        talk.say(echo(line).encode() + PROMPT)

    with FakeSocket(script) as server, ThreadPoolExecutor(20) as pool:
        api = RuntimeApi(server.address, LONG)
        answers = list(pool.map(lambda _: api.ask("show info"), range(20)))
    assert answers == [["<show info>"]] * 20
    assert 1 < max(most) <= 5


# --- What does not answer ---------------------------------------------------------------------------------


def close_at_once(_talk: Talk) -> None:
    pass


def close_after_the_greeting(talk: Talk) -> None:
    talk.greet()
    talk.line()


def close_in_an_answer(talk: Talk) -> None:
    talk.greet()
    talk.line()
    talk.say(b"half of an ans")


def web_server(talk: Talk) -> None:
    talk.line()
    talk.say(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("script", [close_at_once, close_after_the_greeting, close_in_an_answer, web_server])
def test_a_session_that_is_closed_early_is_unreachable(script: Script, place: str | None) -> None:
    with FakeSocket(script, place) as server:
        message = fails(UnreachableError, RuntimeApi(server.address, LONG), "show info")
        assert message.startswith(f"HAProxy at {server.address} closed the session; expected an answer")
        assert len(server.connections) == 1


def hang_at_once(talk: Talk) -> None:
    talk.hang()


def hang_after_the_greeting(talk: Talk) -> None:
    talk.greet()
    talk.hang()


def hang_in_an_answer(talk: Talk) -> None:
    talk.greet()
    talk.line()
    talk.say(b"half of an answer\n>but no prompt\n>")
    talk.hang()


def mail_server(talk: Talk) -> None:
    talk.say(b"220 mail.example.com ESMTP\r\n")
    talk.hang()


def babble(talk: Talk) -> None:
    """Never silent for long, and never done."""
    while not talk.server.stopping.wait(SOON / 10):
        talk.say(b"\x00\xff blah")


@pytest.mark.parametrize("script", [hang_at_once, hang_after_the_greeting, hang_in_an_answer, mail_server, babble])
def test_a_socket_that_hangs_or_never_ends_runs_out_of_time(script: Script, place: str | None) -> None:
    with FakeSocket(script, place) as server:
        message = fails(TimeLimitError, RuntimeApi(server.address, SOON), "show info")
        assert message.startswith(f"HAProxy at {server.address} did not answer 'show' within 0.3 s")
        assert len(server.connections) == 1


def test_after_a_failure_the_next_question_starts_anew() -> None:
    """No answer that comes late is taken for that of the next command."""

    def script(talk: Talk) -> None:
        talk.greet()
        line = talk.line()
        if talk.number == 1:
            talk.say(b"a part of an answer")
            talk.hang()
        talk.say(echo(line).encode() + PROMPT)
        talk.hang()

    with FakeSocket(script) as server:
        api = RuntimeApi(server.address, SOON)
        fails(TimeLimitError, api, "show info")
        assert api.ask("show stat") == ["<show stat>"]


def test_a_socket_that_is_not_there_is_missing(tmp_path: Path) -> None:
    address = f"{tmp_path}/nobody.sock"
    assert fails(MissingError, RuntimeApi(address, LONG), "show info").startswith(f"there is no socket {address}")


def test_a_port_or_a_socket_that_nobody_serves_is_unreachable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    fails(UnreachableError, RuntimeApi(f"127.0.0.1:{port}", LONG), "show info")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(tmp_path / "dead.sock"))
    fails(UnreachableError, RuntimeApi(f"{tmp_path}/dead.sock", LONG), "show info")
    (tmp_path / "file").touch()
    fails(UnreachableError, RuntimeApi(f"{tmp_path}/file", LONG), "show info")
    fails(UnreachableError, RuntimeApi(f"/{'x' * 200}", LONG), "show info")


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT TESTED: a socket without permission, because root may open any")
def test_a_socket_that_may_not_be_opened_is_denied(tmp_path: Path) -> None:
    with FakeSocket(answering(echo), f"{tmp_path}/admin.sock") as server:
        (tmp_path / "admin.sock").chmod(0)
        fails(DeniedError, RuntimeApi(server.address, LONG), "show info")


# --- Commands that end the session ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [(b"", ""), (b"Success=1\n", "Success=1\n"), (b"Success=0\n--\nno such file\n", "Success=0\n--\nno such file\n")],
)
def test_the_last_words_of_a_session_are_heard(words: bytes, told: str) -> None:
    with FakeSocket(lambda talk: (talk.line(), talk.say(words))) as server:
        assert RuntimeApi(server.address, LONG).ask_once("reload") == told
    assert server.lines == ["reload"]


def test_last_words_that_do_not_come_run_out_of_time() -> None:
    with FakeSocket(lambda talk: talk.server.stopping.wait(LONG)) as server, pytest.raises(TimeLimitError):
        RuntimeApi(server.address, SOON).ask_once("reload")


# --- Addresses, words, versions, levels -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
        ("unix@/run/haproxy/admin.sock", "/run/haproxy/admin.sock"),
        ("127.0.0.1:9999", ("127.0.0.1", 9999)),
        ("ipv4@lb1.example.com:9999", ("lb1.example.com", 9999)),
        ("ipv6@[::1]:9999", ("::1", 9999)),
        ("[::1]:9999", ("::1", 9999)),
    ],
)
def test_addresses_are_written_as_haproxy_writes_them(text: str, address: t.Any) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run/admin.sock",
        "localhost",
        ":9999",
        "lb1:",
        "lb1:0",
        "lb1:65536",
        "lb1:-1",
        "lb1:99 99",
        "lb1:٣",
        "lb1:1\n",
    ],
)
def test_what_is_no_address_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_address(text)


@given(st.text())
def test_whatever_is_given_is_an_address_or_invalid(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse_address(text)


@given(st.one_of(st.text(), st.text(alphabet="ab1_.;\n\r <\\\"'#$`\x00\x7f"), st.from_regex(r"[\w.:/@%+-]+(.|\s)?")))
def test_a_word_never_ends_itself_or_its_command(text: str) -> None:
    try:
        accepted = word(text, "server name")
    except InvalidError:
        return
    assert accepted == text
    assert accepted
    assert accepted.isascii()
    assert not set(accepted) & set(" \t\r\n\v\f;<>\\\"'#$`&|!?*(){}~^,=\x00\x7f")


@pytest.mark.parametrize(
    ("info", "version"),
    [("Name: HAProxy\nVersion: 2.8.25-5cf\n", (2, 8)), ("Version: 2.4.0", (2, 4)), ("Version: 10.0-dev1\n", (10, 0))],
)
def test_the_version_is_read(info: str, version: tuple[int, int]) -> None:
    assert parse_version(info) == version


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("Name: HAProxy\nVersion: 2.0.33\n", "HAProxy is version 2.0; expected 2.4 or newer. Upgrade HAProxy"),
        ("Version: 1.8.30", "HAProxy is version 1.8; expected 2.4 or newer. Upgrade HAProxy"),
        (
            "Unknown command",
            "the socket answers 'Unknown command' to 'show info'; expected HAProxy. Check the socket's address",
        ),
        ("", "the socket answers '' to 'show info'; expected HAProxy. Check the socket's address"),
    ],
)
def test_what_is_too_old_or_no_haproxy_is_unsupported(info: str, message: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse_version(info)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("level", "allowed"), [("admin", True), ("admin\n", True), ("operator", False), ("user", False), ("", False)]
)
def test_only_the_level_admin_may_write(level: str, allowed: bool) -> None:
    if allowed:
        need_admin(level, "/run/admin.sock")
    else:
        with pytest.raises(DeniedError):
            need_admin(level, "/run/admin.sock")
