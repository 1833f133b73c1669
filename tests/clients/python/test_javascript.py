"""The clients in JavaScript for Node.js and for HTTP, with their own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

import javascript
from installations import DIRECT_REPLIES_BY_AMQP_1_0
from processes import Node

PLUGINS = javascript.PLUGINS


@pytest.mark.parametrize("file", javascript.tests_in("javascript", "node"), ids=javascript.name_of)
def test_the_tests_in(
    file: Path, node: Node, environment: dict[str, object], tmp_path: Path
) -> None:
    if file.name.startswith("amqp10") and node.version() < DIRECT_REPLIES_BY_AMQP_1_0:
        pytest.skip("this RabbitMQ has no direct reply-to over AMQP 1.0")
    javascript.must_pass(file, environment, tmp_path)
