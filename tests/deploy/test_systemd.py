"""systemd accepts the unit, and confines it as configured."""

from __future__ import annotations

import re
from pathlib import Path

import processes
from conftest import DEPLOY, Run, tool

UNIT = DEPLOY / "systemd" / "streamwatch-worker.service"
# Of 10; systemd calls what is below 2 "OK", and an ordinary service has 9.6.
MOST_EXPOSED = 1.5


def installed(tmp_path: Path) -> Path:
    """The unit as it is installed, with the program that was built."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/streamwatch", str(processes.BINARY)))
    return unit


def test_systemd_finds_no_mistake_in_the_unit(tmp_path: Path, run: Run) -> None:
    said = run(tool("systemd-analyze", "systemd"), "verify", "--man=no", installed(tmp_path))
    assert UNIT.name not in said, said


def test_the_unit_is_exposed_to_little(tmp_path: Path, run: Run) -> None:
    said = run(
        tool("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", installed(tmp_path)
    )
    overall = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert overall and float(overall[1]) <= MOST_EXPOSED, said
    print(overall[0])


def test_the_unit_sets_only_what_the_program_reads(known_settings: set[str]) -> None:
    text = UNIT.read_text()
    named = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    assert named and set(named) <= known_settings
    # Ending in order takes no longer than systemd waits.
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1]) >= 15
