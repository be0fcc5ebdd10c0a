# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for the scheduler and the kubelet: pods as local processes of the demo app, without containers.

What a container runs is told by its image:

=====================  ===============================================================================
``demo-app:1.1``       the demo app as version 1.1, when the container has a port
``…:crash``            a process that ends with 1 at once (also with the variable ``CRASH=1``)
``missing:…``          nothing: it cannot be pulled
any other, or no port  a process that just runs, and ends on SIGTERM
=====================  ===============================================================================

Its environment tells the rest: ``COLOUR`` (else the pod's label ``colour`` or ``version``), ``FAIL_SHARE``,
``BUILD_NUMBER``, ``UNHEALTHY=1``, ``LATENCY_MS``, ``HEALTH_BODY``, ``START_DELAY`` (seconds until it listens).
Readiness follows its probe (httpGet or tcpSocket, first when it listens, then each period) as in a real kubelet;
crash loops wait as there, but a tenth as long. Init containers and liveness probes are taken as passed, volumes as
mounted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import http.client
import itertools
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.rig import ROOT

from .api import STRATEGIC, Api, ApiError, Object
from .process import with_parent
from .watching import Watcher, key_of

LOG = logging.getLogger(__name__)
NODE = "node1"
HOST_ADDRESS = "10.0.0.1"
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between restarts, a tenth of a kubelet's
LOOK_AGAIN = 1.0  # seconds, for an image or a ConfigMap that is not there
TRIES = 1500  # of a write that the API server does not answer, five in a second


class NotRunnableError(Exception):
    """A container that a kubelet would not start; holds the reason that its state shows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- One container ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What a container's status shows."""

    state: Mapping[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Mapping[str, Any] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    port: int | None = None
    """Where it listens on this machine."""

    @property
    def running(self) -> bool:
        return "running" in self.state


class Container:
    """Runs its process again and again until it is stopped. ``changed`` is called after each change of state."""

    def __init__(self, pod: Object, spec: Object, log: Path, read: Reader, changed: Callable[[], None]) -> None:
        self.pod, self.spec, self.log, self.read, self.changed = pod, spec, log, read, changed
        self.name: str = spec["name"]
        self.state = State()
        self.process: asyncio.subprocess.Process | None = None
        self.stopping = False

    @property
    def ports(self) -> dict[str, int]:
        """By name and by number."""
        ports = self.spec.get("ports") or []
        named = {port["name"]: port["containerPort"] for port in ports if port.get("name")}
        return {**named, **{str(port["containerPort"]): port["containerPort"] for port in ports}}

    def become(self, **changes: Any) -> None:
        self.state = dataclasses.replace(self.state, **changes)
        self.changed()

    async def run(self) -> None:
        try:
            await self.pull()
            await self.run_again_and_again(await self.configured())
        except (OSError, ValueError) as error:
            self.wait("RunContainerError", str(error))
        finally:
            self.end_now()

    def wait(self, reason: str, message: str) -> None:
        self.become(state={"waiting": {"reason": reason, "message": message}})

    async def configured(self) -> dict[str, str]:
        """Its environment, once all that it refers to is there."""
        while True:
            try:
                self.refuse_probe()
                return await asyncio.to_thread(self.environment)
            except NotRunnableError as error:
                self.wait(error.reason, error.message)
            except (OSError, http.client.HTTPException) as error:
                LOG.info("environment of %s: %r", self.name, error)
            await asyncio.sleep(LOOK_AGAIN)

    async def pull(self) -> None:
        image = self.spec["image"]
        message = f'Back-off pulling image "{image}"'
        for number in itertools.count():
            if not image.rpartition("/")[2].startswith("missing:"):
                return
            reason = "ImagePullBackOff" if number % 2 else "ErrImagePull"
            said = message if number % 2 else f'failed to pull image "{image}": not found'
            self.wait(reason, said)
            await asyncio.sleep(LOOK_AGAIN)

    async def run_again_and_again(self, environment: Mapping[str, str]) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        for number in itertools.count():
            begun = now()
            code = await self.run_once(environment)
            ended = {"exitCode": code, "startedAt": begun, "finishedAt": now()}
            ended["reason"] = "Error" if code else "Completed"
            self.become(state={"terminated": ended}, ready=False, port=None)
            if self.stopping or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            # The first one is started again at once.
            if number:
                wait = BACK_OFF[min(number - 1, len(BACK_OFF) - 1)]
                message = f"back-off {wait:g}s restarting failed container={self.name}"
                self.become(last={"terminated": ended})
                self.wait("CrashLoopBackOff", message)
                await asyncio.sleep(wait)
            self.become(last={"terminated": ended}, restarts=self.state.restarts + 1)

    async def run_once(self, environment: Mapping[str, str]) -> int:
        """Its exit code."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *with_parent(self.command(environment)),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self.become(state={"running": {"startedAt": now()}}, ready=self.probe is None and not self.serves)
        watching = asyncio.create_task(self.serve(self.process, environment))
        try:
            code = await self.process.wait()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        return code if code >= 0 else 128 - code

    @property
    def serves(self) -> bool:
        return self.spec["image"].rpartition("/")[2].startswith("demo-app:") and bool(self.ports)

    def command(self, environment: Mapping[str, str]) -> list[str]:
        tag = self.spec["image"].rpartition(":")[2]
        if tag == "crash" or environment.get("CRASH") == "1":
            return ["sh", "-c", "echo this release crashes >&2; exit 1"]
        if not self.serves:
            return ["sleep", "infinity"]
        labels = self.pod["metadata"].get("labels", {})
        colour = environment.get("COLOUR") or labels.get("colour") or labels.get("version") or "none"
        app = [
            *(sys.executable, "-m", "demo.app", "--port", "0", "--colour", colour, "--version", tag),
            *("--instance", self.pod["metadata"]["name"][-64:], "--fail-share", environment.get("FAIL_SHARE", "0")),
            *("--build-number", environment.get("BUILD_NUMBER", "1")),
        ]
        delay = float(environment.get("START_DELAY", "0"))
        return ["sh", "-c", 'sleep "$0"; exec "$@"', str(delay), *app] if delay else app

    # --- its environment

    def environment(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in self.spec.get("envFrom") or []:
            kind = "configMapRef" if "configMapRef" in source else "secretRef"
            prefix = source.get("prefix", "")
            found |= {f"{prefix}{key}": value for key, value in self.data(kind[:-3], source[kind]).items()}
        for variable in self.spec.get("env") or []:
            value = self.value(variable)
            if value is not None:
                found[variable["name"]] = value
        return found

    def value(self, variable: Object) -> str | None:
        source = variable.get("valueFrom")
        if not source:
            return str(variable.get("value", ""))
        for kind in ("configMap", "secret"):
            if reference := source.get(f"{kind}KeyRef"):
                data = self.data(kind, reference)
                if reference["key"] not in data and not reference.get("optional"):
                    raise NotRunnableError("CreateContainerConfigError", f"no key {reference['key']} in {reference}")
                return data.get(reference["key"])
        path = source.get("fieldRef", {}).get("fieldPath", "")
        fields = {f"metadata.{name}": self.pod["metadata"].get(name, "") for name in ("name", "namespace", "uid")}
        return str(fields.get(path, ""))

    def data(self, kind: str, reference: Object) -> dict[str, str]:
        try:
            return self.read(kind, self.pod["metadata"]["namespace"], reference["name"])
        except ApiError as error:
            if error.status == 404 and reference.get("optional"):
                return {}
            raise NotRunnableError("CreateContainerConfigError", str(error)) from error

    # --- its readiness

    @property
    def probe(self) -> Object | None:
        probe: Object | None = self.spec.get("readinessProbe")
        return probe

    def refuse_probe(self) -> None:
        if self.probe and not {"httpGet", "tcpSocket"} & self.probe.keys():
            raise NotRunnableError("CreateContainerConfigError", "the stand-in for the kubelet cannot run this probe")

    async def serve(self, process: asyncio.subprocess.Process, environment: Mapping[str, str]) -> None:
        """From its start: where it listens, its faults, its readiness."""
        if not self.serves or not process.stdout:
            return
        line = await process.stdout.readline()
        if not line.strip():
            return
        port = int(json.loads(line)["listening"])
        await set_faults(port, environment)
        self.become(port=port, ready=self.probe is None)
        if self.probe:
            await self.keep_probing(self.probe, port)

    async def keep_probing(self, probe: Object, port: int) -> None:
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        streak, last = 0, None
        while True:
            good = await self.probed(probe, port)
            streak = streak + 1 if good == last else 1
            last = good
            needed = probe.get("successThreshold", 1) if good else probe.get("failureThreshold", 3)
            if good != self.state.ready and streak >= needed:
                self.become(ready=good)
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def probed(self, probe: Object, port: int) -> bool:
        """Like a real one it fails on a port where nothing listens."""
        what = probe.get("httpGet") or probe["tcpSocket"]
        if str(what["port"]) not in self.ports:
            return False
        try:
            async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
                if "httpGet" not in probe:
                    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return True
                return 200 <= await asked(port, "GET", what.get("path", "/")) < 400
        except (OSError, TimeoutError, ValueError):
            return False

    # --- its end

    async def stop(self, grace: float) -> None:
        """Its preStop hook, SIGTERM, and SIGKILL when its grace is over."""
        self.stopping = True
        if self.process and self.process.returncode is None:
            try:
                async with asyncio.timeout(grace):
                    await asyncio.sleep(self.pre_stop())
                    with contextlib.suppress(ProcessLookupError):
                        self.process.terminate()
                    await self.process.wait()
            except TimeoutError:
                self.end_now()

    def pre_stop(self) -> float:
        """Seconds; only a sleep is known."""
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        words = " ".join((hook.get("exec") or {}).get("command") or [])
        found = re.search(r"\bsleep (\d+(?:\.\d+)?)\b", words)
        return float(found[1]) if found else 0.0

    def end_now(self) -> None:
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def status(self) -> Object:
        state = self.state
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"local/{self.spec['image']}",
            "containerID": f"process://{self.process.pid}" if self.process else "",
            "state": dict(state.state),
            "lastState": dict(state.last),
            "ready": state.ready,
            "started": state.running,
            "restartCount": state.restarts,
        }


Reader = Callable[[str, str, str], dict[str, str]]
"""The content of a ConfigMap or Secret, by kind, namespace and name."""


async def set_faults(port: int, environment: Mapping[str, str]) -> None:
    faults: dict[str, Any] = {}
    if environment.get("UNHEALTHY") == "1":
        faults["unhealthy"] = True
    if "LATENCY_MS" in environment:
        faults["latency_ms"] = float(environment["LATENCY_MS"])
    if "HEALTH_BODY" in environment:
        faults["health_body"] = environment["HEALTH_BODY"]
    if faults:
        await asked(port, "POST", "/_ctl", json.dumps(faults).encode())


async def asked(port: int, method: str, path: str, body: bytes = b"") -> int:
    """The status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        words = (await reader.readline()).split()
        await reader.read()
        return int(words[1]) if len(words) > 1 else 0
    finally:
        writer.close()


# --- One pod ----------------------------------------------------------------------------------------------


class Pod:
    """What runs for one pod object, and what is written to its status."""

    def __init__(self, kubelet: Kubelet, pod: Object, address: str) -> None:
        self.kubelet, self.pod, self.address = kubelet, pod, address
        self.started = now()
        self.turned = {"Ready": ("", ""), "ContainersReady": ("", "")}
        self.dirty, self.stopping = asyncio.Event(), False
        self.containers = [
            Container(
                pod,
                spec,
                kubelet.directory / f"{key_of(pod).replace('/', '_')}_{spec['name']}.log",
                kubelet.read,
                self.touch,
            )
            for spec in pod["spec"]["containers"]
        ]
        self.tasks = [asyncio.create_task(each.run()) for each in self.containers]
        self.writer = asyncio.create_task(self.keep_writing())
        self.touch()

    def touch(self) -> None:
        self.dirty.set()
        self.kubelet.published()

    def local(self, port: int) -> int | None:
        """Where a port of the pod is on this machine."""
        return next((each.state.port for each in self.containers if port in each.ports.values()), None)

    @property
    def url(self) -> str | None:
        ports = [each.state.port for each in self.containers if each.state.port]
        return f"http://127.0.0.1:{ports[0]}" if ports else None

    async def keep_writing(self) -> None:
        while True:
            await self.dirty.wait()
            self.dirty.clear()
            await self.kubelet.write("PATCH", f"{self.path}/status", {"status": self.status()}, STRATEGIC)

    @property
    def path(self) -> str:
        namespace, name = key_of(self.pod).split("/")
        return f"/api/v1/namespaces/{namespace}/pods/{name}"

    def status(self) -> Object:
        ready = all(each.state.ready for each in self.containers) and not self.stopping
        phase = self.phase()
        conditions = [{"type": each, "status": "True"} for each in ("Initialized", "PodScheduled")]
        conditions += [self.condition(each, ready) for each in self.turned]
        return {
            "phase": phase,
            "hostIP": HOST_ADDRESS,
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self.started,
            "conditions": conditions,
            "containerStatuses": [each.status() for each in self.containers],
        }

    def phase(self) -> str:
        ended = [each.state.state["terminated"] for each in self.containers if "terminated" in each.state.state]
        if len(ended) == len(self.containers) and self.pod["spec"].get("restartPolicy") != "Always":
            return "Failed" if any(each["exitCode"] for each in ended) else "Succeeded"
        begun = all(each.state.running or each.state.restarts or each.state.last for each in self.containers)
        return "Running" if begun or ended else "Pending"

    def condition(self, name: str, ready: bool) -> Object:
        """It remembers when it turned."""
        status = "True" if ready else "False"
        if self.turned[name][0] != status:
            self.turned[name] = (status, now())
        unready = [each.name for each in self.containers if not each.state.ready]
        why = {} if ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: {unready}"}
        return {"type": name, "status": status, "lastTransitionTime": self.turned[name][1], **why}

    async def stop(self, grace: float) -> None:
        """Ends the processes; the pod's status says no more than that it is not ready."""
        self.stopping = True
        self.touch()
        await asyncio.gather(*(each.stop(grace) for each in self.containers))
        await self.end()

    async def end(self) -> None:
        for task in (*self.tasks, self.writer):
            task.cancel()
        await asyncio.gather(*self.tasks, self.writer, return_exceptions=True)


# --- All of them ------------------------------------------------------------------------------------------


class Kubelet:
    """Binds each pod to the one node there is, and runs it."""

    def __init__(self, api: Api, directory: Path, published: Callable[[], None]) -> None:
        self.api, self.directory, self.published = api, directory, published
        self._pods: dict[str, Pod] = {}
        self._addresses = addresses()
        self._tasks: set[asyncio.Task[None]] = set()
        self._binding: set[str] = set()
        self._ending: set[str] = set()
        self._watcher = Watcher(api, "/api/v1/pods", self._changed, self._gone)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        register(self.api)
        self._watcher.start(asyncio.get_running_loop())

    async def stop(self) -> None:
        self._watcher.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(pod.end() for pod in self._pods.values()))

    @property
    def pods(self) -> dict[str, Object]:
        """From namespace/name to its address, and where it is on this machine if it listens."""
        return {key_of(pod.pod): {"address": pod.address, "url": pod.url} for pod in self._pods.values()}

    def local(self, address: tuple[str, int]) -> int | None:
        host, port = address
        return next((pod.local(port) for pod in self._pods.values() if pod.address == host), None)

    def read(self, kind: str, namespace: str, name: str) -> dict[str, str]:
        plural = {"configMap": "configmaps", "secret": "secrets"}[kind]
        found = self.api.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}").get("data") or {}
        if kind == "configMap":
            return dict(found)
        return {key: base64.b64decode(value).decode() for key, value in found.items()}

    async def write(self, method: str, path: str, body: object, content_type: str = "application/json") -> None:
        """Whatever befalls the API server; an object that is no more, or that another has changed, is let go."""
        for _try in range(TRIES):
            try:
                await asyncio.to_thread(self.api.request, method, path, body, content_type)
                return
            except ApiError as error:
                if error.status < 500 and error.status != 429:
                    LOG.info("%s %s: %s", method, path, error)
                    return
            except (OSError, http.client.HTTPException) as error:
                LOG.info("%s %s: %r", method, path, error)
            await asyncio.sleep(0.2)

    def _changed(self, pod: Object) -> None:
        uid, metadata = pod["metadata"]["uid"], pod["metadata"]
        if metadata.get("deletionTimestamp"):
            self._once(uid, self._ending, self._end(pod))
        elif not pod["spec"].get("nodeName"):
            self._once(uid, self._binding, self._bind(pod))
        elif pod["spec"]["nodeName"] == NODE and uid not in self._pods and not _over(pod):
            self._pods[uid] = Pod(self, pod, next(self._addresses))

    def _gone(self, pod: Object) -> None:
        """Removed without its grace: ended at once."""
        if running := self._pods.pop(pod["metadata"]["uid"], None):
            self._spawn(running.end())
        self.published()

    def _once(self, uid: str, doing: set[str], work: Coroutine[Any, Any, None]) -> None:
        if uid in doing:
            work.close()
            return
        doing.add(uid)
        self._spawn(work).add_done_callback(lambda _done: doing.discard(uid))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _bind(self, pod: Object) -> None:
        namespace, name = key_of(pod).split("/")
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        }
        await self.write("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", binding)

    async def _end(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if running := self._pods.get(uid):
            await running.stop(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        namespace, name = key_of(pod).split("/")
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self.write("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", options)


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def addresses() -> Iterator[str]:
    """As many as a node's address range has; one is used once."""
    return (f"10.244.{third}.{fourth}" for third in range(256) for fourth in range(2, 255))


def register(api: Api) -> None:
    """The node object that pods are bound to."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}
    api.apply(node)
    room = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
    status = {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": HOST_ADDRESS}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}],
    }
    api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC)
