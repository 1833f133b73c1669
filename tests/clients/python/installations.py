"""Installations whose users are the roles that `streamwatch topology roles` prints."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel
from rabbitmq_amqp_python_client import ConnectionParameters

import roles
from processes import BINARY, Node, Site, eventually
from roles import TENANT, VIEWER
from streamwatch_amqp10 import Amqp10Client
from streamwatch_client import StreamwatchClient

Client = TypeVar("Client", bound=Amqp10Client)

# How many each test's installations have.
PARTITIONS = [1, 4]

# RabbitMQ before this version has no direct reply-to over AMQP 1.0.
DIRECT_REPLIES_BY_AMQP_1_0 = (4, 2)


class Installation:
    """A topology in a virtual host of its own, with an address for each role."""

    def __init__(self, node: Node, partitions: int, folder: Path, permissions: Permissions):
        self.node = node
        self.permissions = permissions
        self.vhost = permissions.vhost
        self.partitions = partitions
        self.site = Site(
            self.url("operator"),
            folder,
            ttl=30.0,
            heartbeat_every=10.0,
            partitions=partitions,
            namespace=permissions.namespace,
            worker_url=self.url("worker"),
            by_mqtt=True,
        )
        self.exchange = f"{permissions.namespace}streamwatch"
        # RabbitMQ's.
        self.version = node.version()
        # By role, with the password: they are many, and logging in takes a while.
        self._connections: dict[str, pika.BlockingConnection] = {}

    def connection(self, role: str) -> pika.BlockingConnection:
        """A cached connection."""
        url = self.url(role)
        kept = self._connections.get(url)
        if kept is None or not kept.is_open:
            kept = self._connections[url] = pika.BlockingConnection(pika.URLParameters(url))
        return kept

    def close(self) -> None:
        for connection in self._connections.values():
            with suppress(pika.exceptions.AMQPError):
                connection.close()
        self.site.close()

    def assert_unhurt(self) -> None:
        """Its worker answers, and has never lost the broker."""
        self.site.assert_workers_run()
        with self.client("operator") as operator:
            assert operator.status("somebody", consistency="strong").type == "activity"
        assert sum(self.site.metric("streamwatch_reconnects_total").values()) == 0

    def url(self, role: str) -> str:
        user, password = self.permissions.user(role)
        return self.node.url_of(user, password, self.vhost)

    @contextmanager
    def channel(self, role: str) -> Iterator[BlockingChannel]:
        channel = self.connection(role).channel()
        try:
            yield channel
        finally:
            with suppress(pika.exceptions.AMQPError):
                channel.close()

    def client(self, role: str, tenant: str = TENANT) -> StreamwatchClient:
        return StreamwatchClient(self.url(role), tenant, self.permissions.namespace)

    def amqp10(self, role: str, client: type[Client]) -> Client:
        """A client over AMQP 1.0. For an older RabbitMQ, it gets a queue for its replies."""
        user, password = self.permissions.user(role)
        host, port = self.node.url.rpartition("@")[2].partition("/")[0].split(":")
        parameters = ConnectionParameters(
            host=host, port=int(port), virtual_host=self.vhost, user=user, password=password
        )
        replies = None
        if self.version < DIRECT_REPLIES_BY_AMQP_1_0:
            replies = f"{self.exchange}.replies/{secrets.token_hex(8)}"
            with self.channel("operator") as channel:
                channel.queue_declare(replies, durable=True)
            permissions = ["^$", *(f"^{re.escape(name)}$" for name in [self.exchange, replies])]
            self.node.ctl("set_permissions", "--vhost", self.vhost, user, *permissions)
        return client(parameters, TENANT, self.permissions.namespace, replies)

    def cli(self, role: str, *arguments: str) -> dict[str, object]:
        return json.loads(self.site.run("--json", *arguments, url=self.url(role)))


class Permissions:
    """The permissions of each role as the program prints them, with a password for each user."""

    def __init__(self, partitions: int):
        self.vhost = f"roles/{partitions}"
        self.namespace = f"r{secrets.token_hex(3)}-"
        self.arguments = ["topology", "roles", "--vhost", self.vhost]
        for tenant in [TENANT, roles.OTHER_TENANT]:
            self.arguments += ["--tenant", tenant]
        self.arguments += ["--account", VIEWER, "--mqtt"]
        for tenant in roles.EDGE_TENANTS:
            self.arguments += ["--edge", tenant]
        self.definitions = json.loads(self.say("--json"))
        users = [it["user"] for it in self.definitions["permissions"]]
        # Passwords of those who have no user.
        self.tokens: dict[str, str] = {}
        self.passwords = {user: secrets.token_urlsafe(12) for user in users}

    def say(self, *arguments: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AMQP_")}
        said = subprocess.run(
            [BINARY, "--namespace", self.namespace, *self.arguments, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout

    def user(self, role: str) -> tuple[str, str]:
        if role in self.tokens:
            return "", self.tokens[role]
        name = f"{self.namespace}streamwatch.{role}"
        return name, self.passwords[name]

    def with_users(self) -> dict[str, list[object]]:
        users = [
            {"name": name, "tags": [], **hashed(password)}
            for name, password in self.passwords.items()
        ]
        return {"users": users, "vhosts": [{"name": self.vhost}], **self.definitions}


def hashed(password: str) -> dict[str, str]:
    salt = secrets.token_bytes(4)
    digest = salt + hashlib.sha256(salt + password.encode()).digest()
    return {
        "password_hash": base64.b64encode(digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
    }


@contextmanager
def installed(
    node: Node, folder: Callable[[], Path]
) -> Iterator[dict[int, Installation]]:
    """One of each number of partitions, in virtual hosts of their own, each with one worker."""
    all_permissions = {number: Permissions(number) for number in PARTITIONS}
    together: dict[str, list[object]] = {}
    for permissions in all_permissions.values():
        for part, of_one in permissions.with_users().items():
            together.setdefault(part, []).extend(of_one)
    file = node.folder / "roles.json"
    file.write_text(json.dumps(together))
    node.ctl("import_definitions", str(file))
    found: dict[int, Installation] = {}
    try:
        for number, permissions in all_permissions.items():
            found[number] = it = Installation(node, number, folder(), permissions)
            it.site.start_workers(1)
            leaders = "streamwatch_leader"
            eventually(
                lambda it=it, n=number: sum(it.site.metric(leaders).values()) == n,
                "every partition is led",
                within=30,
            )
        yield found
    finally:
        for it in found.values():
            it.close()
