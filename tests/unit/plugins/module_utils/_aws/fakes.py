# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import abc
import typing as t

from plugins.module_utils._aws.client import Json, LostAnswerError


class Calls(abc.ABC):
    """What is written is called once; whether a lost one was made is asked."""

    @abc.abstractmethod
    def call(self, service: str, action: str, **asked: t.Any) -> Json: ...

    def write(self, service: str, action: str, due: t.Callable[[], bool], **asked: t.Any) -> None:
        try:
            self.call(service, action, **asked)
        except LostAnswerError:
            if due():
                raise
