# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What befalls a record in a file: races, a full disk, a crash, hands. The real thing each time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.rig import ROOT, wait_until
from plugins.module_utils._errors import (
    BlueGreenError,
    BrokenRecordError,
    ConflictError,
    DeniedError,
    LockedError,
    NotVerifiedError,
    TimeLimitError,
)
from plugins.module_utils._files import HeldError
from plugins.module_utils._release import ledger
from plugins.module_utils._release.file import FileStore
from plugins.module_utils._release.ledger import Entry, Request
from plugins.module_utils._release.record import Record
from plugins.module_utils._release.store import Store, load, update
from tests.unit.plugins.module_utils._release.fakes import Gone, Lossy, Mute, Refusing
from tests.unit.plugins.modules.process import run_module

FORK = multiprocessing.get_context("fork")
ROUNDS = 100 if os.environ.get("BLUEGREEN_FAULTS") == "full" else 20
KNOWN = {"shop.json", "shop.json.previous", "shop.lock"}
NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore("shop", str(tmp_path / "records"), 10.0)


def file_of(store: Store) -> Path:
    return Path(store.place)


def begins(owner: str = "alice") -> Callable[[Record], Record]:
    return lambda record: ledger.begin(record, Request(id=f"of-{owner}", owner=owner), time.time())


def steps(token: int, **entry: Any) -> Callable[[Record], Record]:
    return lambda record: ledger.step(record, token, Entry(**entry), time.time())


def fails(error: type[BlueGreenError], call: Callable[[], object]) -> str:
    with pytest.raises(BlueGreenError) as caught:
        call()
    assert caught.value.__class__ is error, caught.value.message
    return caught.value.message


def names(store: Store) -> set[str]:
    return {path.name for path in file_of(store).parent.iterdir()}


# --- Two at once ------------------------------------------------------------------------------------------


def test_of_two_releases_started_at_the_same_moment_exactly_one_begins(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        options = {"app": f"shop{number}", "store": {"path": str(tmp_path)}, "action": "begin"}
        with contextlib.ExitStack() as stack:
            both = [stack.enter_context(waiting_module()) for _unused in range(2)]
            for each, owner in zip(both, ("alice", "bob"), strict=True):
                each.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "owner": owner}}).encode())
            for each in both:
                each.stdin.close()
            results = [json.loads(each.stdout.read()) for each in both]
        begun = [result for result in results if not result.get("failed")]
        refused = [result for result in results if result.get("failed")]
        assert [result["failure"]["code"] for result in refused] == ["locked"], results
        assert [result["token"] for result in begun] == [refused[0]["lock"]["token"]]
        assert begun[0]["lock"] == refused[0]["lock"]


@contextlib.contextmanager
def waiting_module() -> Iterator[subprocess.Popen[bytes]]:
    """The module's process, all loaded, which waits for its options."""
    command = [sys.executable, "-m", "plugins.modules.release"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        try:
            wait_until(lambda: reads_a_pipe(process.pid), 30, "the module waits for its options")
            yield process
            process.wait(30)
        finally:
            process.kill()


def reads_a_pipe(pid: int) -> bool:
    """As long as it loads its parts it runs, or waits for the disk; then it sleeps."""
    loaded = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) > 4000  # pages; the first moments pass as sleep
    return loaded and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


# --- A disk that takes nothing more -----------------------------------------------------------------------

FULL = """
import json, sys
from pathlib import Path
from plugins.module_utils._errors import BlueGreenError
from tests.integration.targets.store.test_faults import FileStore, begins, steps, update

folder = Path(sys.argv[1])
store = FileStore("shop", str(folder), 10.0)
token = update(store, begins())[1].token
before = (folder / "shop.json").read_bytes()
with (folder / "filler").open("wb", buffering=0) as filler:
    try:
        while filler.write(b"x" * 512):
            pass
    except OSError:
        pass
found = {"codes": []}
for _unused in range(3):
    try:
        update(store, steps(token, step="s", result={"x": "y" * 9000}))
    except BlueGreenError as error:
        found["codes"].append(error.code)
        found["message"] = error.message
found["untouched"] = (folder / "shop.json").read_bytes() == before
(folder / "filler").unlink()
found["names"] = sorted(path.name for path in folder.iterdir())
update(store, steps(token, step="s", result={"x": "y" * 9000}))
found["after"] = json.loads((folder / "shop.json").read_text())["release"]["steps"][0]["status"]
print(json.dumps(found))
"""


def test_a_full_disk_leaves_the_old_record(tmp_path: Path) -> None:
    """A real file system, in a mount name space of its own: nobody else sees it, and it goes with the process."""
    inside = 'mount -t tmpfs -o size=64k,mode=755 none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*command, "mount -t tmpfs none /mnt"], check=False).returncode:
        pytest.skip("NOT TESTED: a full disk needs unshare and user name spaces (kernel.unprivileged_userns_clone)")
    told = subprocess.run(
        [*command, inside, "sh", str(tmp_path), sys.executable, FULL],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["codes"], found["untouched"], found["after"]) == (["denied"] * 3, True, "done")
    assert "No space left on device" in found["message"]
    assert "The old record is untouched" in found["message"]
    assert set(found["names"]) <= KNOWN
    assert list(tmp_path.iterdir()) == []


def in_a_child(work: Callable[[], None]) -> None:
    """For what a process cannot take back: its limits, its user."""
    child = FORK.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_a_file_that_may_not_grow_leaves_the_old_record(store: FileStore) -> None:
    token = update(store, begins())[1].token
    before = file_of(store).read_bytes()

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, len(before) + 100))
        message = fails(DeniedError, lambda: update(store, steps(token, step="s", result={"x": "y" * 9000})))
        assert "The old record is untouched" in message

    in_a_child(work)
    assert file_of(store).read_bytes() == before
    assert names(store) <= KNOWN
    assert update(store, steps(token, step="s"))[1].open


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: needs root, to become somebody else")
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_who_has_no_rights_changes_nothing(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "records"
    store = FileStore("shop", str(folder), 10.0)
    update(store, begins())
    before = file_of(store).read_bytes()
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    folder.chmod(mode)
    tmp_path.chmod(0o755)

    def work() -> None:
        os.chdir(tmp_path)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        near = FileStore("shop", "/proc/self/cwd/records", 10.0)
        error = fails(DeniedError, lambda: update(near, lambda record: ledger.begin(record, TAKE, time.time())))
        assert "Use become" in error or "use become" in error

    in_a_child(work)
    assert file_of(store).read_bytes() == before


TAKE = Request(id="x", owner="bob", take_over="why")


def test_a_file_in_the_place_of_the_directory_is_denied(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file")
    fails(DeniedError, lambda: update(FileStore("shop", str(tmp_path / "records"), 1.0), begins()))
    fails(DeniedError, lambda: FileStore("shop", str(tmp_path / "records"), 1.0).write({}, None))


# --- A file that is not what it was -----------------------------------------------------------------------


def test_a_record_cut_at_any_byte_is_broken_and_never_overwritten(store: FileStore) -> None:
    token = update(store, begins())[1].token
    update(store, steps(token, next="s"))
    whole = file_of(store).read_bytes()
    for length in range(len(whole)):
        file_of(store).write_bytes(whole[:length])
        message = fails(BrokenRecordError, lambda: update(store, begins("bob")))
        assert "shop.json.previous over it" in message
        assert "bluegreen.deploy.recover" in message
        assert file_of(store).read_bytes() == whole[:length]
    file_of(store).write_bytes(whole)
    assert update(store, steps(token, step="s"))[1].open


def test_the_copy_before_is_sound_whatever_is_done_to_the_record(store: FileStore) -> None:
    token = update(store, begins())[1].token
    before = file_of(store).read_bytes()
    update(store, steps(token, next="s"))
    os.truncate(file_of(store), 10)
    previous = Path(f"{file_of(store)}.previous")
    assert previous.read_bytes() == before
    shutil.copy(previous, file_of(store))
    assert load(store)[0].token == token
    taken = update(store, lambda record: ledger.begin(record, TAKE, time.time()))[1]
    assert taken.token > token


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "broken"),
        (b"\xff\xfe", "broken"),
        (b"{" * 100_000, "broken"),
        (b"[" * 100_000 + b"]" * 100_000, "broken"),
        (b'{"schema": 1, "app": "other"}', "broken"),
        (b'{"schema": 2, "app": "shop", "new": {}}', "unsupported"),
    ],
)
def test_the_module_says_so_and_touches_nothing(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "shop.json"
    path.write_bytes(content)
    for action, options in (("read", {}), ("begin", {"owner": "a"}), ("step", {"token": 1}), ("thaw", {"owner": "a"})):
        result = run_module("release", app="shop", store={"path": str(tmp_path)}, action=action, **options)
        assert (result["failed"], result["failure"]) == (True, {"code": code})
        assert str(path) in result["msg"]
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["shop.json"]


def test_what_is_written_is_its_owners_alone(store: FileStore) -> None:
    before = os.umask(0)
    try:
        token = update(store, begins())[1].token
        update(store, steps(token, next="s"))
    finally:
        os.umask(before)
    assert names(store) == KNOWN
    modes = {path.stat().st_mode & 0o7777 for path in file_of(store).parent.iterdir()}
    assert (modes, file_of(store).parent.stat().st_mode & 0o7777) == ({0o600}, 0o700)


def test_a_link_in_the_place_of_the_lock_is_not_followed(store: FileStore, tmp_path: Path) -> None:
    update(store, begins())
    lock = file_of(store).parent / "shop.lock"
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    fails(DeniedError, lambda: update(store, lambda record: ledger.begin(record, TAKE, time.time())))
    assert not (tmp_path / "elsewhere").exists()


# --- A store that does not do as it says ------------------------------------------------------------------


def test_a_lost_write_is_not_verified(store: FileStore) -> None:
    fails(NotVerifiedError, lambda: update(Lossy(store), begins()))
    assert store.read() is None


def test_a_write_that_is_always_refused_is_a_conflict(store: FileStore) -> None:
    fails(ConflictError, lambda: update(Refusing(store), begins()))
    assert store.read() is None


@pytest.mark.parametrize("writes", [True, False])
def test_after_a_write_without_an_answer_there_is_one_winner_and_he_knows(store: FileStore, writes: bool) -> None:
    mute = Mute(store, TimeLimitError("no answer"), writes)
    if writes:
        assert update(mute, begins())[1] == load(store)[0]
        fails(LockedError, lambda: update(store, begins("bob")))
    else:
        assert "The record does not show the write" in fails(TimeLimitError, lambda: update(mute, begins()))
        assert update(store, begins("bob"))[1].open


@pytest.mark.parametrize("writes", [True, False])
def test_a_store_that_is_gone_after_the_write_leaves_no_second_winner(store: FileStore, writes: bool) -> None:
    gone = Gone(store, TimeLimitError("no answer"), writes)
    assert "it may have been written" in fails(TimeLimitError, lambda: update(gone, begins()))
    if writes:
        fails(LockedError, lambda: update(store, begins("bob")))


def test_who_holds_the_lock_for_long_is_a_timeout(store: FileStore) -> None:
    token = update(store, begins())[1].token
    impatient = FileStore("shop", str(file_of(store).parent), 0.1)
    with (file_of(store).parent / "shop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = fails(HeldError, lambda: update(impatient, steps(token, next="s")))
        assert "another process has held" in message
        assert load(store)[0].release == load(impatient)[0].release  # reading waits for nobody
        patient = threading.Thread(target=update, args=(store, steps(token, next="t")))
        patient.start()
    patient.join(30)
    record = load(store)[0]
    assert record.release is not None
    assert [step.step for step in record.release.steps] == ["t"]


# --- A writer that is killed ------------------------------------------------------------------------------


def endless_writer(store: FileStore, ready: Any, contents: list[Any]) -> None:
    number = 0
    while True:
        stored = store.read()
        store.write(contents[number % 2], stored.version if stored else None)
        ready.set()
        number += 1


def test_a_writer_killed_at_any_moment_leaves_a_whole_record_and_no_lock(store: FileStore) -> None:
    contents = [{"body": "a" * 40_000}, {"body": "b" * 60_000}]
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for number in range(50):
        ready = FORK.Event()
        child = FORK.Process(target=endless_writer, args=(store, ready, contents))
        child.start()
        assert child.pid is not None
        assert ready.wait(30)
        time.sleep(chance.uniform(0, 0.03))  # the moment is the point
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        stored = store.read()
        assert stored is not None
        assert stored.content in contents, (seed, number)
        previous = Path(f"{file_of(store)}.previous")
        assert not previous.exists() or json.loads(previous.read_bytes()) in contents
        store.write(contents[0], stored.version)
