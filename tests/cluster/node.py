# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one node of the cluster: the stand-ins for kubelet and kube-proxy, in one process.

    python -m tests.cluster.node --kubeconfig K --directory D

It tells in ``node.json`` in the directory where Services and pods are on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
from pathlib import Path

from .api import Api
from .kubelet import Kubelet
from .proxy import Proxy

MAP = "node.json"


class Node:
    def __init__(self, api: Api, directory: Path) -> None:
        self.directory = directory
        self.kubelet = Kubelet(api, directory / "pods", self.publish)
        self.proxy = Proxy(api, self.kubelet.local, self.publish)
        self._due = False

    def publish(self) -> None:
        """Once for all that changed in this turn of the loop."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(0.005, self._write)

    def _write(self) -> None:
        self._due = False
        partial = self.directory / f".{MAP}"
        partial.write_text(json.dumps({"services": self.proxy.ports, "pods": self.kubelet.pods}))
        partial.replace(self.directory / MAP)

    async def run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            self.kubelet.start()
            self.proxy.start()
            self._write()
            await stop.wait()
        finally:
            self.proxy.stop()
            await self.kubelet.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(Node(Api.of(options.kubeconfig), options.directory).run())


if __name__ == "__main__":
    main()
