"""The pages in a browser, with their own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import javascript

PLUGINS = javascript.PLUGINS


@pytest.mark.parametrize("file", javascript.tests_in("browser"), ids=javascript.name_of)
def test_the_tests_in(file: Path, environment: dict[str, object], tmp_path: Path) -> None:
    if javascript.CHROMIUM is None:
        pytest.skip("Chromium is not installed: tests/install-javascript --browser")
    javascript.must_pass(file, environment, tmp_path)
