# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between us and a HAProxy's runtime socket, and goes wrong at the worst moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

WRITES = b"set map"


class Meddler:
    """Passes everything on until C(trick) says otherwise.

    commit: the first change is swallowed, and nothing is answered from then on.
    lost: the first change is made, and nothing is answered from then on.
    verify: the first change is made and answered, and nothing is answered after that.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self.trick = ""
        self._silent = self._silent_next = False
        self._open: set[socket.socket] = set()
        self._server = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._server.bind(str(self.path))
        self._server.listen()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in list(self._open):
            one.close()
        self._thread.join(10)
        self.path.unlink()

    def heal(self) -> None:
        self.trick, self._silent = "", False

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._server.accept()
                self._open.add(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as real:
            real.connect(str(self._target))
            threading.Thread(target=self._answer, args=(real, client), daemon=True).start()
            try:
                self._pass_on(client, real)
            finally:
                real.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who reads from it
        self._open.discard(client)

    def _pass_on(self, client: socket.socket, real: socket.socket) -> None:
        while asked := client.recv(1 << 16):
            writes = WRITES in asked
            if self.trick == "commit" and writes:
                self._silent = True
            if self._silent and self.trick:
                continue
            if writes:
                self._silent = self.trick == "lost"
                self._silent_next = self.trick == "verify"
            real.sendall(asked)

    def _answer(self, real: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while answered := real.recv(1 << 16):
                if not self._silent:
                    client.sendall(answered)
                if self._silent_next:
                    self._silent, self._silent_next = True, False
