# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Third-party libraries: imported when they are first used, and named when they are not there.

Private to this collection.
"""

from __future__ import annotations

import platform
import sys
import typing as t

from ._errors import MissingError


def require_botocore() -> t.Any:
    """The library under boto3, which is all that is used of it."""
    try:
        import botocore.config  # noqa: PLC0415  only now
        import botocore.exceptions  # noqa: PLC0415  only now
        import botocore.parsers  # noqa: PLC0415  only now
        import botocore.session  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("botocore") from error
    return botocore


def require_dnspython() -> t.Any:
    """The dnspython library; who names no resolvers never pays for it."""
    try:
        import dns.message  # noqa: PLC0415  only now
        import dns.query  # noqa: PLC0415  only now
        import dns.rdata  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("dnspython") from error
    return dns


def require_jmespath() -> t.Any:
    """The jmespath library; who has no JMESPath to work out never pays for it."""
    try:
        import jmespath  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("jmespath") from error
    return jmespath


def require_kubernetes() -> t.Any:
    """The official client library of Kubernetes, of which the settings are used."""
    try:
        import kubernetes  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("kubernetes") from error
    return kubernetes


def require_yaml() -> t.Any:
    """The PyYAML library, which comes with that of Kubernetes."""
    try:
        import yaml  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("PyYAML") from error
    return yaml


def require_urllib3() -> t.Any:
    """The urllib3 library, which comes with that of Kubernetes."""
    try:
        import urllib3  # noqa: PLC0415  only now
    except ImportError as error:
        raise _missing("urllib3") from error
    return urllib3


def _missing(library: str) -> MissingError:
    host, interpreter = platform.node(), sys.executable
    return MissingError(
        f"the Python library {library} cannot be imported on {host} by {interpreter}",
        todo=f"Install it there: {interpreter} -m pip install {library}",
        library=library,
        interpreter=interpreter,
    )
