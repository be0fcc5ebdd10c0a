# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several releases in one run of ansible-playbook, as a site.yml has them."""

from __future__ import annotations

import json
from typing import Any


def test_releases_in_one_run_do_not_know_of_each_other(stage: Any) -> None:
    """Two good ones, each from where the other has left the traffic, and a bad one, whose report says so."""
    wanted = {"first": "1.1", "second": "1.2", "third": "9.9"}
    site = [
        {
            "import_playbook": "bluegreen.deploy.release",
            "vars": {
                "bluegreen_version": version,
                "bluegreen_report_name": name,
                **({"bluegreen_deploy": [], "bluegreen_health_timeout": 2} if name == "third" else {}),
            },
        }
        for name, version in wanted.items()
    ]
    (stage.rig.directory / "site.yml").write_text(json.dumps(site))
    done = stage.rig.play(str(stage.rig.directory / "site.yml"))
    found = {name: json.loads((stage.rig.directory / "reports" / f"{name}.json").read_text()) for name in wanted}
    assert [found[name]["outcome"] for name in wanted] == ["released", "released", "refused"], done.stdout
    assert (done.returncode, stage.map_entry()) == (2, "shop blue:green:0"), done.stdout

    for name, way in {"first": ("blue", "green"), "second": ("green", "blue")}.items():
        report = found[name]
        assert ((report["from_colour"], report["to_colour"]), report["reason"]) == (way, None)
        steps = [one for one in report["load_balancers"]["lb1"]["checklist"] if one["stage"] == "switch"]
        assert [one["check"].partition(" of ")[0] for one in steps[:2]] == ["50 %", "100 %"]
        assert len(report["load_balancers"]["lb1"]["timeline"]) == 2
    assert found["third"]["load_balancers"]["lb1"]["timeline"] == []
    assert not [
        one
        for one in found["third"]["load_balancers"]["lb1"]["checklist"]
        if one["passed"] and one["stage"] == "switch"
    ]

    record = json.loads((stage.rig.directory / "record" / "shop.json").read_text())
    assert (record["release"]["state"], record["lock"]) == ("refused", None)
    assert [one["state"] for one in record["history"]] == ["released", "released"]
