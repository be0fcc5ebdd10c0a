# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in launch templates: a version that differs in its image alone. Private to this collection.

Source: docs.aws.amazon.com/AWSEC2/latest/APIReference, CreateLaunchTemplateVersion (SourceVersion; ClientToken,
with which a repeated request makes no second version) and DescribeLaunchTemplateVersions.
"""

from __future__ import annotations

import hashlib
import re

from .._errors import InvalidError, UnsupportedError
from .client import Aws, Json

IMAGE = re.compile(r"ami-[0-9a-f]{8,17}|resolve:ssm:\S+")


class Images:
    """Of the launch templates of one call."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def of(self, template: str, version: str) -> str:
        """The image that a version of a template launches; empty where it leaves that open."""
        return str(self._described(template, version).get("LaunchTemplateData", {}).get("ImageId", ""))

    def make(self, template: str, version: str, image: str) -> str:
        """The number of a version that is as this one is, but for the image."""
        source = str(self._described(template, version)["VersionNumber"])
        asked = f"{template} {source} {image}"
        made = self._aws.call(
            "ec2",
            "create_launch_template_version",
            LaunchTemplateId=template,
            SourceVersion=source,
            VersionDescription=f"{image}, by bluegreen.deploy",
            LaunchTemplateData={"ImageId": image},
            ClientToken=hashlib.sha256(asked.encode()).hexdigest()[:64],
        )
        return str(made["LaunchTemplateVersion"]["VersionNumber"])

    def _described(self, template: str, version: str) -> Json:
        asked = {"LaunchTemplateId": template, "Versions": [version]}
        found: list[Json] = self._aws.call("ec2", "describe_launch_template_versions", **asked)[
            "LaunchTemplateVersions"
        ]
        return found[0]


def check_image(group: str, template: str, mixed: bool, image: str) -> None:
    """Whether a group with this launch template, or a policy of mixed instances, can be given an image here."""
    if not IMAGE.fullmatch(image):
        raise InvalidError(f"image_id is {image!r}", "an image such as ami-0123456789abcdef0")
    if mixed or not template:
        raise UnsupportedError(
            f"group {group} has {'a policy of mixed instances' if mixed else 'no launch template'}",
            "a launch template of its own",
            "Give it a version of the template with that image yourself, and say launch_template_version here",
        )
