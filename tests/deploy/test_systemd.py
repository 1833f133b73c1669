"""systemd accepts the units, and confines them as configured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import processes
from conftest import DEPLOY, Run, tool

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# Of 10; systemd calls what is below 2 "OK", and an ordinary service has 9.6.
MOST_EXPOSED = 1.5


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def installed(unit: Path, tmp_path: Path) -> Path:
    """The unit as it is installed, with the program that was built."""
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/usr/local/bin/streamwatch", str(processes.BINARY)))
    return there


def test_there_is_a_unit_for_each_service() -> None:
    assert [unit.stem for unit in UNITS] == ["streamwatch-edge", "streamwatch-worker"]


def test_systemd_finds_no_mistake_in_the_unit(installed: Path, run: Run) -> None:
    said = run(tool("systemd-analyze", "systemd"), "verify", "--man=no", installed)
    assert installed.name not in said, said


def test_the_unit_is_exposed_to_little(installed: Path, run: Run) -> None:
    said = run(
        tool("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", installed
    )
    overall = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert overall and float(overall[1]) <= MOST_EXPOSED, said
    print(overall[0])


def test_the_unit_sets_only_what_the_program_reads(unit: Path, known_settings: set[str]) -> None:
    text = unit.read_text()
    named = re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)
    assert named and set(named) <= known_settings
    # Ending in order takes no longer than systemd waits.
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1]) >= 15
