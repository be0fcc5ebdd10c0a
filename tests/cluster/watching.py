# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server holds of a kind, kept up to date by a watch, whatever befalls the API server."""

from __future__ import annotations

import asyncio
import http.client
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .api import Api, ApiError, Object

LOG = logging.getLogger(__name__)
AGAIN = 0.1  # seconds before a server that is not there is asked again


def key_of(thing: Object) -> str:
    metadata = thing["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


@dataclass
class Watcher:
    """Calls ``changed`` in the event loop with an object that is new or changed, ``gone`` with one that is no more.

    An object that is deleted and made again while nobody looked is gone first.
    """

    api: Api
    path: str
    changed: Callable[[Object], None]
    gone: Callable[[Object], None]
    known: dict[str, Object] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        threading.Thread(target=self._follow, args=(loop,), daemon=True, name=f"watch {self.path}").start()

    def stop(self) -> None:
        self._stopped.set()

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.is_set():
            try:
                listed = self.api.get(self.path)
                version = listed["metadata"]["resourceVersion"]
                loop.call_soon_threadsafe(self._replace, listed.get("items") or [])
                self._watch(loop, version)
            except (OSError, ApiError, http.client.HTTPException, ValueError) as error:
                LOG.info("watch of %s: %r", self.path, error)
                time.sleep(AGAIN)
            except RuntimeError:  # the loop is closed: the process ends
                return

    def _watch(self, loop: asyncio.AbstractEventLoop, version: str) -> None:
        """A watch that ends in peace goes on where it was; any other one begins with a list again."""
        while not self._stopped.is_set():
            for event in self.api.watch(self.path, version):
                thing = event["object"]
                version = thing["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    loop.call_soon_threadsafe(self._remove, thing)
                elif event["type"] != "BOOKMARK":
                    loop.call_soon_threadsafe(self._put, thing)

    def _replace(self, things: list[Object]) -> None:
        now = {key_of(thing) for thing in things}
        for key in [key for key in self.known if key not in now]:
            self._remove(self.known[key])
        for thing in things:
            self._put(thing)

    def _put(self, thing: Object) -> None:
        before = self.known.get(key_of(thing))
        if before and before["metadata"]["uid"] != thing["metadata"]["uid"]:
            self._remove(before)
        self.known[key_of(thing)] = thing
        self.changed(thing)

    def _remove(self, thing: Object) -> None:
        self.known.pop(key_of(thing), None)
        self.gone(thing)
