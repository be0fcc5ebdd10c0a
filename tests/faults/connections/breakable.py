# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local connection to a host that can be cut off: it is unreachable while the file is there."""

from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: breakable
short_description: For the tests of faults
description: Like local, until it breaks.
options:
  broken:
    description: The file that cuts the host off.
    vars:
      - name: breakable_file
    required: true
"""


class Connection(Local):
    transport = "breakable"

    def _whole(self):
        if Path(self.get_option("broken")).exists():
            raise AnsibleConnectionFailure("the network is down")

    def _connect(self):
        self._whole()
        return super()._connect()

    def exec_command(self, *arguments, **options):
        self._whole()
        return super().exec_command(*arguments, **options)

    def put_file(self, *arguments, **options):
        self._whole()
        return super().put_file(*arguments, **options)
