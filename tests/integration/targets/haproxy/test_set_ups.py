# Copyright (c) bluegreen.deploy contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load balancers as people have set them up themselves, and what their clients get."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from demo.rig import wait_until
from plugins.module_utils._errors import (
    DriftError,
    NotReadyError,
    NotVerifiedError,
    TimeLimitError,
    UnsupportedError,
)
from plugins.module_utils._haproxy import frontend
from plugins.module_utils._traffic.split import Split
from tests.haproxies import every_haproxy, haproxy_binary
from tests.integration.haproxy_site import BLUE, FRONTEND, GREEN, ONE_BACKEND, TWO_BACKENDS, Site, green
from tests.integration.set_ups import SiteMaker, move, refused, site

__all__ = ["haproxy_binary", "site"]

# --- A colour that cannot serve ---------------------------------------------------------------------------

IDLE_WITH_WEIGHT_0 = """
backend shop
    server blue1 @blue1 {checked} weight 100
    server green1 @green1 {checked} weight 0
"""


@every_haproxy
def test_an_idle_colour_of_weight_0_gets_its_traffic(site: SiteMaker) -> None:
    lb = site(IDLE_WITH_WEIGHT_0)
    lb.wait_for(blue1=True, green1=True)
    for wanted, seen in ((green(10), 4), (green(50), 20), (GREEN, 40)):
        with lb.load() as got:
            assert move(lb.router(), wanted).verified is True
        assert set(got) <= {"blue1", "green1"}
        assert abs(lb.colours()["green"] - seen) <= 2


def test_after_a_failed_switch_the_weight_0_is_back(site: SiteMaker) -> None:
    lb = site(IDLE_WITH_WEIGHT_0)
    before = lb.states()
    router = lb.router()
    router.apply(GREEN, BLUE)
    router.home = True
    router.apply(BLUE, GREEN)
    assert lb.states() == before
    assert lb.colours() == {"blue": 40}


@every_haproxy
@pytest.mark.parametrize("home", [BLUE, GREEN])
def test_a_site_that_is_down_can_be_brought_up(site: SiteMaker, home: Split) -> None:
    lb = site(IDLE_WITH_WEIGHT_0)
    lb.set("shop/blue1 state drain")
    assert lb.colours() == {"503": 40}
    assert lb.router().read() is None
    assert move(lb.router(), home).before is None
    assert lb.colours() == {home.leader: 40}


def test_a_site_whose_servers_are_all_in_maintenance_is_brought_up_by_force(site: SiteMaker) -> None:
    lb = site("backend shop\n    server blue1 @blue1\n    server blue2 @blue2\n    server green1 @green1\n")
    lb.set("shop/blue1 state maint", "shop/blue2 state maint", "shop/green1 state maint")
    said = refused(NotReadyError, lambda: move(lb.router(), BLUE))
    assert "blue1 is in maintenance" in said
    assert lb.colours() == {"503": 40}
    move(lb.router(), BLUE, force=True)
    assert lb.colours() == {"blue": 40}


# --- Other people's things --------------------------------------------------------------------------------

FOUR = """
backend shop
    server blue1 @blue1 {checked}
    server blue2 @blue2 {checked}
    server green1 @green1 {checked}
    server green2 @green2 {checked}
"""


@pytest.mark.parametrize("lower_with", ["drain", "maint"])
def test_a_member_under_repair_stays_out_of_a_release_and_of_its_way_back(site: SiteMaker, lower_with: str) -> None:
    lb = site(FOUR)
    options = {**ONE_BACKEND, "lower_with": lower_with}
    move(lb.router(**options), BLUE)
    lb.set("shop/blue2 state maint")
    for wanted in (green(50), GREEN, BLUE, GREEN, green(50), BLUE):
        move(lb.router(**options), wanted)
        got = lb.clients()
        assert "blue2" not in got
        assert set(got) <= {"blue1", "green1", "green2"}
    assert lb.clients() == {"blue1": 40}


def test_weights_that_were_set_at_run_time_survive_a_release_and_its_way_back(site: SiteMaker) -> None:
    lb = site(FOUR.replace("{checked}", "weight 100"))
    move(lb.router(), BLUE)
    lb.set("shop/blue1 weight 30", "shop/blue2 weight 90")
    for wanted in (GREEN, BLUE):
        move(lb.router(), wanted)
    assert [lb.states()[f"shop/blue{n}"] for n in (1, 2)] == [(0, 30), (0, 90)]


def test_members_keep_their_proportions_in_a_canary(site: SiteMaker) -> None:
    lb = site(
        """
backend shop
    server blue1 @blue1 weight 256
    server blue2 @blue2 weight 1
    server green1 @green1 weight 128
    server green2 @green2 weight 128
"""
    )
    move(lb.router(), BLUE)
    move(lb.router(), green(10))
    got = lb.clients(100)
    assert abs(got["green1"] + got["green2"] - 10) <= 3
    assert got["blue2"] <= 2
    move(lb.router(), BLUE)
    assert lb.states()["shop/blue1"] == (0, 256)
    assert lb.states()["shop/blue2"] == (0, 1)


def test_servers_of_neither_colour_are_named_and_nothing_is_moved(site: SiteMaker) -> None:
    lb = site(FOUR + "    server gren3 @gren3 {checked}\n")
    lb.set("shop/green1 state drain", "shop/green2 state drain")
    before = lb.states()
    assert "gren3" in refused(UnsupportedError, lambda: move(lb.router(), GREEN))
    assert lb.states() == before
    assert any("gren3" in sentence for sentence in lb.router().drift())
    home = lb.router()
    home.home = True
    move(home, GREEN)  # it keeps nobody from going home
    assert home.verify(GREEN) is None


BACKUP = """
backend shop
    server blue1 @blue1 {checked}
    server green1 @green1 {checked} backup
"""


@every_haproxy
def test_a_backup_server_is_read_as_haproxy_reads_it(site: SiteMaker) -> None:
    lb = site(BACKUP)
    assert lb.router().read() == BLUE
    assert lb.colours() == {"blue": 40}
    assert "green1" in refused(UnsupportedError, lambda: move(lb.router(), green(50)))
    with lb.load() as got:
        move(lb.router(), GREEN)
    assert set(got) <= {"blue1", "green1"}
    assert lb.colours() == {"green": 40}
    move(lb.router(), BLUE)
    assert lb.colours() == {"blue": 40}
    assert lb.states() == {"shop/blue1": (0, 1), "shop/green1": (0, 1)}


def test_a_fail_over_to_backup_servers_is_told_and_is_no_move(site: SiteMaker) -> None:
    lb = site(BACKUP)
    lb.apps["blue1"].stop()
    lb.wait_for(blue1=False)
    assert lb.colours() == {"green": 40}
    assert lb.router().read() == GREEN
    assert "until that ends" in refused(DriftError, lambda: move(lb.router(), GREEN))
    assert move(lb.router(), GREEN, mend_drift=True).changed
    lb.apps["blue1"].start()
    lb.wait_for(blue1=True)
    assert lb.colours() == {"green": 40}
    move(lb.router(), BLUE)
    assert lb.colours() == {"blue": 40}


# --- Members that cannot take traffic ---------------------------------------------------------------------

TEMPLATE = """
resolvers nobody
    nameserver none 127.0.0.1:9
    resolve_retries 1
    timeout retry 100ms
    timeout resolve 100ms
backend shop
    server blue1 @blue1
    server blue2 @blue2
    server green1 @green1
    server green2 @green2
    server-template green1 3-10 nowhere.invalid:80 resolvers nobody init-addr none
"""


@every_haproxy
def test_a_canary_over_a_template_with_slots_that_have_no_address(site: SiteMaker) -> None:
    lb = site(TEMPLATE)
    move(lb.router(), BLUE)
    assert move(lb.router(), green(10)).verified is True
    assert abs(lb.colours(100)["green"] - 10) <= 3
    move(lb.router(), GREEN)
    assert lb.colours() == {"green": 40}
    move(lb.router(), BLUE)
    assert lb.colours() == {"blue": 40}


def test_a_canary_over_a_member_that_tracks_one_in_maintenance(site: SiteMaker) -> None:
    lb = site(
        """
backend checks
    server one @blue1 {checked} disabled
backend shop
    server blue1 @blue1
    server blue2 @blue2
    server green1 @green1
    server green2 @green2 track checks/one
"""
    )
    move(lb.router(), BLUE)
    assert move(lb.router(), green(10)).verified is True
    assert abs(lb.clients(100)["green1"] - 10) <= 3
    move(lb.router(), GREEN)
    assert lb.clients() == {"green1": 40}


def test_members_that_track_each_other_come_and_go_together(site: SiteMaker) -> None:
    lb = site(
        """
backend shop
    server blue1 @blue1 {checked}
    server blue2 @blue2 track shop/blue1
    server green1 @green1 {checked}
    server green2 @green2 track shop/green1
"""
    )
    for wanted in (BLUE, green(20), GREEN, BLUE):
        move(lb.router(), wanted)
        got = lb.clients()
        assert all(abs(got[name] - 40 * wanted.share("green") / 20000) <= 2 for name in ("green1", "green2"))


def test_a_reload_in_a_canary_without_a_state_file_goes_home(site: SiteMaker) -> None:
    lb = site(IDLE_WITH_WEIGHT_0.replace("weight 0", "weight 100"))
    lb.set("shop/green1 state drain")
    router = lb.router()
    began = time.time()
    router.apply(green(10), BLUE)
    lb.reload()
    assert router.read() == green(50)
    why = lb.router().changed_by_itself(began)
    assert why
    assert "started anew" in why
    assert lb.router().changed_by_itself(time.time() + 60) is None
    assert not router.as_left()
    lb.set("shop/green1 weight 70")  # now somebody has set something
    assert lb.router().changed_by_itself(began) is None


# --- Two backends -----------------------------------------------------------------------------------------

PAIR = """
backend shop_blue
    server b1 @blue1 {checked}
backend shop_green
    server g1 @green1 {checked}
"""
BY_NUMBER = """
frontend front
    bind 127.0.0.1:{front}
    use_backend shop_green if {{ nbsrv(shop_green) gt 0 }}
    default_backend shop_blue
"""
FIXED = "frontend front\n    bind 127.0.0.1:{front}\n    default_backend shop_blue\n"


@every_haproxy
def test_two_backends_of_which_the_frontend_takes_the_one_with_servers(
    site: SiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "PATIENCE", 30.0)  # for the next request, on a busy machine
    lb = site(PAIR, BY_NUMBER)
    lb.set("shop_green/g1 state drain")
    for wanted in (GREEN, BLUE):
        with lb.load() as got:
            assert move(lb.router(**TWO_BACKENDS), wanted).verified is True
        assert set(got) <= {"blue1", "green1"}
        assert lb.colours() == {wanted.leader: 40}


def test_a_frontend_that_does_not_choose_by_nbsrv_is_told_what_to_write(
    site: SiteMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontend, "PATIENCE", 30.0)
    lb = site(PAIR, FIXED)
    lb.set("shop_green/g1 state drain")
    with lb.load() as got:
        said = refused(NotVerifiedError, lambda: move(lb.router(**TWO_BACKENDS), GREEN))
    assert "use_backend shop_green if { nbsrv(shop_green) gt 0 }" in said
    assert set(got) <= {"blue1", "503"}
    assert lb.colours() == {"blue": 40}


def test_two_backends_that_are_both_up_are_told_what_to_do_first(site: SiteMaker) -> None:
    lb = site(PAIR, BY_NUMBER)
    before = lb.states()
    said = refused(DriftError, lambda: move(lb.router(**TWO_BACKENDS), GREEN))
    assert "take out those of the idle colour first" in said
    assert "set server shop_green/g1 state drain" in said
    assert lb.states() == before
    refused(UnsupportedError, lambda: move(lb.router(**TWO_BACKENDS), green(10)))


# --- Stickiness -------------------------------------------------------------------------------------------

STICKY = """
backend shop
    cookie SRV insert indirect
    server blue1 @blue1 {checked} cookie b1
    server green1 @green1 {checked} cookie g1
"""


def test_with_a_cookie_a_drained_colour_is_not_called_proven(site: SiteMaker) -> None:
    lb = site(STICKY)
    lb.set("shop/green1 state drain")
    assert "lower_with: maint" in lb.router().caveats(GREEN)[0]
    assert not lb.router().caveats(green(10))
    assert not lb.router(**ONE_BACKEND, lower_with="maint").caveats(GREEN)
    assert move(lb.router(), GREEN).verified is None
    assert lb.get("SRV=b1") == "blue1"
    maint = {**ONE_BACKEND, "lower_with": "maint"}
    move(lb.router(), BLUE)
    assert move(lb.router(**maint), GREEN).verified is True
    assert lb.get("SRV=b1") == "green1"
    move(lb.router(**maint), BLUE)
    assert lb.colours() == {"blue": 40}


def test_with_a_stick_table_a_drained_colour_is_not_called_proven(site: SiteMaker) -> None:
    lb = site(FOUR + "    stick-table type ip size 1k\n    stick on src\n")
    lb.set("shop/green1 state drain", "shop/green2 state drain")
    assert move(lb.router(), GREEN).verified is None


def test_shares_by_leastconn_are_not_called_proven(site: SiteMaker) -> None:
    lb = site(FOUR + "    balance leastconn\n")
    lb.set("shop/green1 state drain", "shop/green2 state drain")
    assert move(lb.router(), green(10)).verified is None
    assert move(lb.router(), GREEN).verified is True


def test_a_share_of_servers_that_start_slowly_is_not_called_proven(site: SiteMaker) -> None:
    lb = site(
        "backend shop\n    server blue1 @blue1 {checked}\n    server green1 @green1 {checked} slowstart 60s disabled\n"
    )
    assert move(lb.router(), green(50)).verified is None
    assert move(lb.router(), GREEN).verified is True


def test_a_balance_that_knows_no_weights_at_run_time_is_refused(site: SiteMaker) -> None:
    lb = site(FOUR + "    balance static-rr\n")
    lb.set("shop/green1 state drain", "shop/green2 state drain")
    before = lb.states()
    assert "static-rr" in refused(UnsupportedError, lambda: move(lb.router(), green(10)))
    assert lb.states() == before
    move(lb.router(), GREEN)
    assert lb.colours() == {"green": 40}


# --- Messages ---------------------------------------------------------------------------------------------


def test_when_others_hold_all_sessions_it_says_how_many_there_may_be(site: SiteMaker) -> None:
    lb = site(FOUR)
    held = []
    try:
        for _session in range(10):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(lb.socket)
            held[-1].sendall(b"prompt\n")
            held[-1].recv(64)
        said = refused(TimeLimitError, lambda: move(lb.router(**ONE_BACKEND, timeout=0.5), BLUE))
    finally:
        for session in held:
            session.close()
    assert "stats maxconn" in said


BY_NAME = """
backend shop_blue
    server b1 @blue1 {checked}
backend shop_green
    server g1 @green1 {checked}
"""
BY_MAP = """
frontend front
    bind 127.0.0.1:{front}
    use_backend %[str(active),map({home}/backends.map,shop_blue)]
"""


def test_a_map_of_names_of_backends_is_left_alone(site: SiteMaker, tmp_path: Path) -> None:
    path = tmp_path / "backends.map"
    path.write_text("active shop_blue\n")
    lb = site(BY_NAME, BY_MAP)
    route = lb.any_router(map=str(path), key="active")
    for ask in (route.read, lambda: move(route, GREEN)):
        said = refused(UnsupportedError, ask)
        assert "'shop_blue'" in said
        assert "set map" not in said
        assert "Leave the entry as it is" in said
    assert path.read_text() == "active shop_blue\n"
    assert lb.colours() == {"blue": 40}


# --- What is counted --------------------------------------------------------------------------------------


def counted(lb: Site, **options: Any) -> dict[str, tuple[int, int]]:
    seen = lb.router(**(options or ONE_BACKEND)).observe()
    assert seen
    return {c: (one.counted.answered, one.counted.errors) for c, one in seen.items() if one.counted}


@every_haproxy
def test_the_503_of_haproxy_itself_are_errors_of_the_colour_that_has_the_traffic(site: SiteMaker) -> None:
    lb = site(FOUR)
    lb.set("shop/blue1 state drain", "shop/blue2 state drain")
    lb.clients(10)
    for name in ("green1", "green2"):
        lb.apps[name].stop()
    lb.wait_for(green1=False, green2=False)
    before = counted(lb)
    got = lb.clients(30)
    assert got == {"503": 30}
    after = counted(lb)
    assert (after["green"][0] - before["green"][0], after["green"][1] - before["green"][1]) == (30, 30)
    assert after["blue"] == before["blue"]
    seen = lb.router().observe()
    assert seen
    assert seen["green"].ready == 0
    assert "is down" in seen["green"].unready[0]


@every_haproxy
def test_dead_servers_that_nothing_checks_are_said_to_be_unchecked(site: SiteMaker) -> None:
    lb = site(FOUR.replace("green2 @green2 {checked}", "green2 @green2"))
    lb.apps["green2"].stop()
    seen = lb.router().observe()
    assert seen
    assert [(one.members, one.ready, one.unchecked) for one in seen.values()] == [(2, 2, 0), (2, 2, 1)]
    lb.set("shop/green2 state maint")
    seen = lb.router().observe()
    assert seen
    assert (seen["green"].ready, seen["green"].unchecked) == (1, 0)


def test_refused_connections_are_errors_of_the_colour_that_refused_them(site: SiteMaker) -> None:
    lb = site(FOUR.replace("{checked}", ""))
    for name in ("green1", "green2"):
        lb.apps[name].stop()
    before = counted(lb)
    got = lb.clients(40)
    after = counted(lb)
    assert got["503"] > 0
    assert after["green"][1] - before["green"][1] == got["503"]
    assert after["blue"][1] == before["blue"][1]
    assert after["green"][1] <= after["green"][0]


@every_haproxy
def test_broken_connections_in_tcp_mode_are_errors(site: SiteMaker) -> None:
    lb = site(FOUR.replace("backend shop", "backend shop\n    mode tcp"), FRONTEND + "    mode tcp\n")
    lb.set("shop/blue1 state drain", "shop/blue2 state drain")
    lb.clients(10)
    before = counted(lb)
    for name in ("green1", "green2"):
        lb.apps[name].stop()
    lb.wait_for(green1=False, green2=False)
    middle = counted(lb)
    assert lb.clients(30) == {"none": 30}
    after = counted(lb)
    assert before["green"] == (10, 0)
    assert after["green"][1] - middle["green"][1] == 30
    assert after["green"][0] - middle["green"][0] == 30
    seen = lb.router().observe()
    assert seen
    assert seen["green"].counted
    assert seen["green"].counted.latency_ms is None


def test_errors_are_never_more_than_answers(site: SiteMaker) -> None:
    lb = site(FOUR)
    lb.apps["green1"].status = 500
    lb.wait_for(green1=True)
    with lb.load() as got:
        for _look in range(50):
            for answers, errors in counted(lb).values():
                assert errors <= answers
        wait_until(lambda: got["500"] > 10, 30, "some fail")
