# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With a connection and a clock of our own; over real connections, see tests/integration/targets/clock_info."""

from __future__ import annotations

import typing as t
from types import SimpleNamespace

import pytest

pytest.importorskip("ansible.plugins.action")

from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.shell.sh import ShellModule
from ansible.template import Templar

from plugins.action import clock_info
from tests.unit.plugins.modules.process import as_spec, bare, documented_options

START = 1_800_000_000_000_000_000
MS = 1_000_000
DATE = "date '+bluegreen[%s%N]'"
PYTHON = """-c 'import time; print("bluegreen[%d]" % time.time_ns())'"""
GARBAGE = b"Mon Nov 23 05:00:00 UTC 2026"


class Host:
    """A connection to a host ``offset`` ms ahead, with a way there and a way back, in ms, for each command."""

    transport = "fake"
    become = None
    allow_executable = False

    def __init__(self, offset: float, *ways: tuple[float, float], date: bool = True, python: bool = True) -> None:
        self.offset, self.ways, self.can = offset, ways, {"date": date, "python": python}
        self.now = 0
        self.commands: list[str] = []
        self._shell = ShellModule()

    def get_option(self, name: str) -> None:
        return None

    def exec_command(self, command: str, in_data: bytes | None, sudoable: bool) -> tuple[int, bytes, bytes]:
        there, back = self.ways[min(len(self.commands), len(self.ways) - 1)]
        self.commands.append(command)
        self.now += int(there * MS)
        told = b"bluegreen[%d]\n" % (START + self.now + int(self.offset * MS))
        self.now += int(back * MS)
        able = self.can["python" if "import time" in command else "date"]
        return (0, told, b"") if able else (0, GARBAGE, b"")

    def time_ns(self) -> int:
        return START + self.now

    def monotonic_ns(self) -> int:
        return self.now


class Clock(t.NamedTuple):
    """What the plugin takes for the module time."""

    time_ns: t.Callable[[], int]
    monotonic_ns: t.Callable[[], int]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    def run(
        host: t.Any,
        task_vars: dict[str, t.Any] | None = None,
        environment: dict[str, str] | None = None,
        delegate_to: str | None = None,
        check_mode: bool = False,
        **args: t.Any,
    ) -> dict[str, t.Any]:
        monkeypatch.setattr(clock_info, "time", Clock(host.time_ns, host.monotonic_ns))
        task = SimpleNamespace(
            action="bluegreen.deploy.clock_info",
            args=args,
            async_val=0,
            check_mode=check_mode,
            delegate_to=delegate_to,
            environment=[environment] if environment else None,
        )
        play = SimpleNamespace(executable="/bin/sh", remote_user=None)
        loader = DataLoader()
        plugin = clock_info.ActionModule(task, host, play, loader, Templar(loader=loader, variables={}), None)
        result: dict[str, t.Any] = plugin.run(task_vars=task_vars or {})
        return result

    return run


@pytest.mark.parametrize(
    ("host", "offset", "uncertainty"),
    [
        (Host(0, (2, 2)), 0, 2),
        (Host(250, (1, 1)), 250, 1),
        (Host(-250, (1, 1)), -250, 1),
        (Host(3_600_000, (0, 0)), 3_600_000, 0),
        # the first command opens the connection and is not counted
        (Host(0, (400, 1), (3, 3)), 0, 3),
        # the shortest round trip decides, wherever it is
        (Host(10, (9, 1), (9, 1), (20, 0), (2, 1), (50, 0)), 10.5, 1.5),
        # all of the delay on one way is as wrong as it can be
        (Host(0, (8, 0)), 4, 4),
        (Host(0, (0, 8)), -4, 4),
    ],
)
def test_the_offset_is_within_its_uncertainty(
    measure: t.Callable[..., dict[str, t.Any]], host: Host, offset: float, uncertainty: float
) -> None:
    result = measure(host)
    assert (result["changed"], result["offset_ms"], result["uncertainty_ms"]) == (False, offset, uncertainty)
    assert abs(result["offset_ms"] - host.offset) <= result["uncertainty_ms"]
    assert {"offset_ms": offset, "round_trip_ms": 2 * uncertainty} in result["samples"]


@pytest.mark.parametrize("there", [0, 3])
@pytest.mark.parametrize("back", [0, 5])
@pytest.mark.parametrize("between", [0, 40])
@pytest.mark.parametrize("before", [0, 7])
@pytest.mark.parametrize("after", [0, 90])
def test_a_controller_that_is_held_up_makes_the_bound_wider_and_never_wrong(
    monkeypatch: pytest.MonkeyPatch, *, before: float, between: float, after: float, there: float, back: float
) -> None:
    """By another process, between any two of its own looks at a clock and the question; in ms."""
    now, offset, held_up = 0.0, 250.0, [before, between]

    def look() -> int:
        nonlocal now
        now += held_up.pop(0) if held_up else 0
        return int(now * MS)

    def ask() -> int:
        nonlocal now
        now += there
        told = START + int((now + offset) * MS)
        now += back + after
        return told

    monkeypatch.setattr(clock_info, "time", Clock(lambda: START + look(), look))
    sample = clock_info.take(ask)
    assert abs(sample.offset / MS - offset) <= sample.round_trip / 2 / MS


@pytest.mark.parametrize("many", [1, 3, 50, "4"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_it_takes_as_many_samples_as_asked_for(
    measure: t.Callable[..., dict[str, t.Any]], many: t.Any, check_mode: bool
) -> None:
    host = Host(0, (1, 1))
    result = measure(host, samples=many, check_mode=check_mode)
    assert result["samples"] == [{"offset_ms": 0, "round_trip_ms": 2}] * int(many)
    assert host.commands == [DATE] * (int(many) + 1)


@pytest.mark.parametrize(
    ("task_vars", "delegate_to", "python"),
    [
        ({}, None, "python3"),
        ({"ansible_python_interpreter": "auto_silent"}, None, "python3"),
        ({"ansible_facts": {"discovered_interpreter_python": "/found/python"}}, None, "/found/python"),
        ({"ansible_facts": {"discovered_interpreter_python": None}}, None, "python3"),
        ({"ansible_python_interpreter": "/my/python"}, None, "/my/python"),
        ({"ansible_python_interpreter": "/my own/python"}, None, "'/my own/python'"),
        (
            {
                "ansible_python_interpreter": "/my/python",
                "ansible_delegated_vars": {"lb2": {"ansible_python_interpreter": "/their/python"}},
            },
            "lb2",
            "/their/python",
        ),
    ],
)
def test_where_date_tells_no_nanoseconds_the_hosts_python_does(
    measure: t.Callable[..., dict[str, t.Any]], task_vars: dict[str, t.Any], delegate_to: str | None, python: str
) -> None:
    host = Host(7, (5, 5), date=False)
    result = measure(host, task_vars, delegate_to=delegate_to, samples=2)
    assert (result["offset_ms"], result["uncertainty_ms"]) == (7, 5)
    assert host.commands == [DATE, *[f"{python} {PYTHON}"] * 3]


def test_the_environment_of_the_task_counts(measure: t.Callable[..., dict[str, t.Any]]) -> None:
    host = Host(0, (1, 1))
    measure(host, environment={"PATH": "/my/bin", "TOKEN": "s3cret"})
    assert set(host.commands) == {f"PATH=/my/bin TOKEN=s3cret {DATE}"}


def test_garbage_is_unsupported_and_tells_no_secret(measure: t.Callable[..., dict[str, t.Any]]) -> None:
    result = measure(Host(0, (1, 1), date=False, python=False), environment={"TOKEN": "s3cret"})
    assert result == {
        "changed": False,
        "failed": True,
        "failure": {"code": "unsupported"},
        "msg": (
            f"the host answers {GARBAGE.decode()!r} to {f'python3 {PYTHON}'!r}; "
            "expected the nanoseconds since 1970, 19 digits between the brackets. Run the command on the host as the "
            "user of the task, with its become, and see what comes instead"
        ),
    }


class Told(Host):
    """Answers one and the same, whatever it is asked."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        super().__init__(0, (0, 0))
        self.answer = (status, out, err)

    def exec_command(self, command: str, in_data: bytes | None, sudoable: bool) -> tuple[int, bytes, bytes]:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((0, b"bluegreen[1800000000N]\n", b""), "'bluegreen[1800000000N]'"),
        ((0, b"bluegreen[1800000000]\n", b""), "'bluegreen[1800000000]'"),
        ((0, b"1800000000000000001\n", b""), "'1800000000000000001'"),
        ((0, b"bluegreen[18000000000000000001]\n", b""), "'bluegreen[18000000000000000001]'"),
        ((0, b"bluegreen[-180000000000000000]\n", b""), "'bluegreen[-180000000000000000]'"),
        ((127, b"", b"sh: date: not found\n"), "'sh: date: not found'"),
        ((1, b"", b""), "'nothing, with status 1'"),
        ((0, b"\xff", b""), repr("\udcff")),
        ((0, b"a" * 1000, b""), repr("a" * 80)),
        ((0, "bluegreen[١٨٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠]".encode(), b""), "'bluegreen[١٨٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠]'"),
    ],
)
def test_whatever_the_host_says_the_error_is_one_line(
    measure: t.Callable[..., dict[str, t.Any]], answer: tuple[int, bytes, bytes], said: str
) -> None:
    result = measure(Told(*answer))
    assert result["failure"] == {"code": "unsupported"}
    assert "\n" not in result["msg"]
    assert result["msg"].startswith(f"the host answers {said} to ")


@pytest.mark.parametrize(
    "answer",
    [
        b"bluegreen[%d]\r\n",
        b"sudo: unable to resolve host lb1: Name or service not known\r\nbluegreen[%d]\r\n",
        b"Welcome, 18 users\nbluegreen[%d]\nlogout",
    ],
)
def test_what_a_terminal_a_sudo_or_a_profile_says_as_well_does_no_harm(
    measure: t.Callable[..., dict[str, t.Any]], answer: bytes
) -> None:
    assert measure(Told(0, answer % START, b""))["offset_ms"] == 0


@pytest.mark.parametrize(("status", "advice"), [(127, "Give"), (126, "Give"), (0, "Run"), (1, "Run")])
def test_python_is_advised_only_where_the_command_was_not_found(
    measure: t.Callable[..., dict[str, t.Any]], status: int, advice: str
) -> None:
    told = measure(Told(status, b"", b"sudo: a password is required"))["msg"]
    assert f". {advice} " in told
    assert ("Python 3.7" in told) == (advice != "Run")


def test_a_host_that_stops_to_tell_its_time_is_unsupported(measure: t.Callable[..., dict[str, t.Any]]) -> None:
    host = Host(0, (1, 1))
    broken = host.exec_command

    def exec_command(*args: t.Any, **named: t.Any) -> tuple[int, bytes, bytes]:
        host.can["date"] = len(host.commands) < 2
        return broken(*args, **named)

    host.exec_command = exec_command  # type: ignore[method-assign]
    assert measure(host)["failure"] == {"code": "unsupported"}


def test_an_unreachable_host_stays_unreachable(measure: t.Callable[..., dict[str, t.Any]]) -> None:
    class Away(Host):
        def exec_command(self, command: str, in_data: bytes | None, sudoable: bool) -> tuple[int, bytes, bytes]:
            raise AnsibleConnectionFailure("nobody answers")

    with pytest.raises(AnsibleConnectionFailure):
        measure(Away(0, (1, 1)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"samples": 0}, "samples is 0; expected 1 to 50"),
        ({"samples": 51}, "samples is 51; expected 1 to 50"),
        ({"samples": "many"}, "the options do not fit: argument 'samples' is of type "),
        ({"sample": 1}, "the options do not fit: sample. Supported parameters include: samples."),
    ],
)
def test_options_that_cannot_be_right_are_invalid(
    measure: t.Callable[..., dict[str, t.Any]], args: dict[str, t.Any], message: str
) -> None:
    host = Host(0, (1, 1))
    result = measure(host, **args)
    assert (result["failed"], result["failure"], host.commands) == (True, {"code": "invalid"}, [])
    assert result["msg"].startswith(message)


def test_options_and_documentation_agree() -> None:
    assert as_spec(documented_options("clock_info")) == bare(clock_info.ARGUMENT_SPEC)
