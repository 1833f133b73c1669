"""The pages in a browser, with their own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import javascript
from processes import Node

PLUGINS = javascript.PLUGINS


@pytest.fixture(scope="module")
def environment(
    node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, object]]:
    with javascript.environment(node, tmp_path_factory.mktemp("site")) as environment:
        yield environment


@pytest.mark.parametrize("file", javascript.tests_in("browser"), ids=javascript.name_of)
def test_the_tests_in(
    file: Path, node: Node, environment: dict[str, object], tmp_path: Path
) -> None:
    if javascript.CHROMIUM is None:
        pytest.skip("Chromium is not installed: tests/install-javascript --browser")
    javascript.must_pass(file, environment, tmp_path)
