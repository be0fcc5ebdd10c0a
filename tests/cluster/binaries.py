# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd, kube-apiserver and kube-controller-manager: found in the cache, or built into it from Debian's source.

    python -m tests.cluster.binaries

No package registry serves a kube-apiserver that runs, but Debian bookworm's source package of Kubernetes is
complete. It is built here with Debian's Go, without being root and without changing what apt knows: apt works on
a configuration of its own. That takes minutes, once: the binaries stay in the cache of the user, outside the
checkout. Debian's patches are left out, as all of them are for kubectl.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.debian import SUITE, apt_configuration, cache, reason, refuse_other_systems
from tests.missing import UnavailableError

from .process import locked, with_parent

VERSION = "1.20.2"
PACKAGES = (
    "golang-1.19-go",
    "golang-1.19-src",
    # Go 1.18 and newer crash in the reflect2 of that time (kubernetes#115698).
    "golang-github-modern-go-reflect2-dev",
    "golang-github-json-iterator-go-dev",
    "etcd-server",
)
NEWER = ("modern-go/reflect2", "json-iterator/go")
# Built with a newer Go this takes an empty text in a custom resource for null; upstream has made the same edit since.
EDITED = ("github.com/go-openapi/validate/type.go", "k8s.io/kube-openapi/pkg/validation/validate/type.go")
EDIT = (
    "data == nil || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data))",
    "data == nil",
)
TAGS = "providerless,dockerless"  # leaves out the cloud providers' libraries: half the size
COMMANDS = ("kube-apiserver", "kube-controller-manager")
STAMPED = ("component-base/version", "client-go/pkg/version")  # /version says what is in both
TREE = "k8s.io/kubernetes"
OPENAPI = "pkg/generated/openapi"
NOT_PUBLISHED = ("sample-apiserver", "sample-controller", "code-generator", "wardle", "_examples", "test/")
LONGEST = 5400.0  # seconds that a build may take, on a machine that does much else
RECIPE = hashlib.sha256(
    repr((VERSION, SUITE, PACKAGES, NEWER, EDITED, EDIT, TAGS, COMMANDS, platform.machine())).encode()
).hexdigest()[:8]


@dataclass(frozen=True)
class Binaries:
    """The programs of a control plane, all in one folder."""

    folder: Path

    @property
    def etcd(self) -> Path:
        return self.folder / "etcd"

    @property
    def kube_apiserver(self) -> Path:
        return self.folder / "kube-apiserver"

    @property
    def kube_controller_manager(self) -> Path:
        return self.folder / "kube-controller-manager"


def find() -> Binaries | None:
    """What an earlier build left."""
    folder = cache() / f"kubernetes-{VERSION}-{RECIPE}"
    return Binaries(folder) if folder.is_dir() else None


def find_or_build() -> Binaries:
    """What is in the cache; builds it first if need be, one process at a time while the others wait for it."""
    if found := find():
        return found
    refuse_other_systems("a control plane is built", "apt-get", "dpkg", "tar", "gzip", "nice", "setpriv")
    cache().mkdir(parents=True, exist_ok=True)
    try:
        with locked(cache() / "kubernetes.lock", LONGEST):
            return find() or _build()
    except TimeoutError as error:
        raise UnavailableError(str(error)) from error


def _build() -> Binaries:
    """Whole or not at all. Under the lock, so what is half built was left by one that was killed."""
    _say(f"building etcd, kube-apiserver and kube-controller-manager {VERSION} once, into {cache()}: takes minutes")
    for left in cache().glob("building-*"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="building-", dir=cache()))
    begun = time.monotonic()
    try:
        _Build(work).run()
        target = cache() / f"kubernetes-{VERSION}-{RECIPE}"
        (work / "out").rename(target)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"the build of a control plane failed: {reason(error)}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _say(f"built in {time.monotonic() - begun:.0f} s")
    return Binaries(target)


class _Build:
    """One build, in a folder that its caller removes."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.deadline = time.monotonic() + LONGEST
        self.debs, self.unpacked, self.out = work / "debs", work / "unpacked", work / "out"
        self.tree = work / "go/src" / TREE
        self.go = self.unpacked / "usr/lib/go-1.19/bin/go"
        for folder in (self.debs, self.unpacked, self.out, self.tree.parent):
            folder.mkdir(parents=True)

    def run(self) -> None:
        self.download()
        self.unpack()
        self.generate_openapi()
        self.compile(self.out, TREE, *(f"cmd/{name}" for name in COMMANDS))
        shutil.copy2(self.unpacked / "usr/bin/etcd", self.out / "etcd")
        packages = sorted(path.name for path in self.debs.iterdir() if path.suffix in {".deb", ".dsc"})
        (self.out / "built-from").write_text("".join(f"{name}\n" for name in packages))

    def download(self) -> None:
        environment = {"APT_CONFIG": str(apt_configuration(self.work / "apt"))}
        self.call(["apt-get", "-qq", "update"], self.debs, environment)
        self.call(["apt-get", "-qq", "download", *PACKAGES], self.debs, environment)
        self.call(["apt-get", "-qq", "source", "--download-only", "kubernetes"], self.debs, environment)

    def unpack(self) -> None:
        for deb in self.debs.glob("*.deb"):
            self.call(["dpkg", "-x", str(deb), str(self.unpacked)], self.work)
        found = [*self.debs.glob(f"kubernetes_*really{VERSION}.orig.tar.gz")]
        if len(found) != 1:
            raise UnavailableError(f"the source that apt knows here is not that of Kubernetes {VERSION}")
        self.tree.mkdir()
        self.call(["tar", "-xzf", str(found[0]), "--strip-components=1", "-C", str(self.tree)], self.work)
        for name in NEWER:
            shutil.rmtree(self.tree / "vendor/github.com" / name)
            shutil.copytree(
                self.unpacked / "usr/share/gocode/src/github.com" / name, self.tree / "vendor/github.com" / name
            )
        for name in EDITED:
            path = self.tree / "vendor" / name
            text = path.read_text()
            if EDIT[0] not in text:
                raise UnavailableError(f"{name} is not as it was when this was written")
            path.write_text(text.replace(*EDIT))

    def generate_openapi(self) -> None:
        """The source package lacks what kube-apiserver says of its types."""
        tools = self.work / "tools"
        self.compile(tools, f"{TREE}/vendor/k8s.io/kube-openapi", "cmd/openapi-gen")
        self.call(
            [
                str(tools / "openapi-gen"),
                *("-i", ",".join(published(self.tree)), "-p", f"{TREE}/{OPENAPI}", "-O", "zz_generated.openapi"),
                *("-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", str(self.work / "violations")),
                *("--output-base", str(self.work / "go/src")),
            ],
            self.tree,
            self.environment(),
        )

    def compile(self, out: Path, base: str, *commands: str) -> None:
        out.mkdir(exist_ok=True)
        stamps = {"gitVersion": f"v{VERSION}", "gitMajor": "1", "gitMinor": "20"}
        stamp = [f"-X {TREE}/vendor/k8s.io/{p}.{key}={value}" for p in STAMPED for key, value in stamps.items()]
        options = ["-trimpath", "-tags", TAGS, "-ldflags", " ".join(["-s -w", *stamp]), "-o", f"{out}/"]
        self.call(
            [str(self.go), "build", *options, *(f"{base}/{each}" for each in commands)], self.tree, self.environment()
        )

    def environment(self) -> dict[str, str]:
        path = f"{self.go.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        folders = {"GOPATH": "go", "GOCACHE": "go-cache", "GOTMPDIR": "go-tmp", "HOME": "home"}
        for name in folders.values():
            (self.work / name).mkdir(exist_ok=True)
        go = {
            "GO111MODULE": "off",
            "CGO_ENABLED": "0",
            "GOENV": "off",
            "GOFLAGS": "",
            "GOROOT": str(self.go.parents[1]),
        }
        return {"PATH": path, **go, **{name: str(self.work / folder) for name, folder in folders.items()}}

    def call(self, words: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        subprocess.run(
            with_parent(["nice", "-n", "10", *words]),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=max(1.0, self.deadline - time.monotonic()),
        )


def published(tree: Path) -> list[str]:
    """The packages whose types are part of the API."""
    found = set()
    for top in ("pkg", "plugin", "staging/src", "cmd"):
        for path in (tree / top).rglob("*.go"):
            name = str(path.relative_to(tree))
            if name.endswith("_test.go") or "zz_generated" in name or any(part in name for part in NOT_PUBLISHED):
                continue
            if re.search(rb"^// \+k8s:openapi-gen=true", path.read_bytes(), re.MULTILINE):
                found.add(re.sub(r"^staging/src/", "vendor/", str(path.parent.relative_to(tree))))
    return [f"{TREE}/{name}" for name in sorted(found)]


def _say(text: str) -> None:
    sys.stderr.write(f"tests.cluster: {text}\n")
    sys.stderr.flush()


def main() -> None:
    try:
        found = find_or_build()
    except UnavailableError as error:
        raise SystemExit(f"tests.cluster: {error}") from error
    for path in (found.etcd, found.kube_apiserver, found.kube_controller_manager):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
