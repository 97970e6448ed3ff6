"""A restarted conductor knows which leases its dead predecessors left."""

from __future__ import annotations

import os
import subprocess

from nova_blockmigrate.conductor import identity


def test_a_living_process_is_not_dead() -> None:
    assert not identity.is_dead_here(identity.of_this_process("controller"), "controller")


def test_a_process_that_ended_is_dead() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    assert identity.is_dead_here(f"controller/{ended.pid}/12345", "controller")


def test_a_new_process_with_an_old_number_is_another() -> None:
    assert identity.is_dead_here(f"controller/{os.getpid()}/1", "controller")


def test_of_other_hosts_nothing_is_known() -> None:
    assert not identity.is_dead_here("other/1/1", "controller")
    assert not identity.is_dead_here("nonsense", "controller")
