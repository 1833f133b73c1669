"""Tests of what is in `deploy/`: every file is read by the tool that reads it in real life."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(ROOT / "tests" / "clients" / "python"))

import processes  # noqa: E402


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not processes.BINARY.exists():
        pytest.exit(f"{processes.BINARY} is missing: run `cargo build` first", returncode=2)
    with processes.broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


Run = Callable[..., str]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a program and returns its standard output. Shows all output after a failure."""

    def run(*command: str | Path, **options: object) -> str:
        ended = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=300,
            **options,
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == 0, f"{command} exits with {ended.returncode}:\n{said}"
        return ended.stdout

    return run


@pytest.fixture(scope="session")
def known_settings(run: Run) -> set[str]:
    """The environment variables that the program reads, by its own help."""
    texts = [
        run(processes.BINARY, *command, "--help")
        for command in (["worker"], ["edge"], ["topology", "declare"], ["healthcheck"])
    ]
    return {
        word.split("=")[0].strip("[]")
        for text in texts
        for word in text.replace("[env: ", "[env:").replace("[env:", " ").split()
        if word.startswith(("STREAMWATCH_", "AMQP_"))
    }


def tool(name: str, package: str) -> str:
    """The path of a program that `tests/run` installs."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    assert found, f"{name} is missing: apt-get install {package}"
    return found
