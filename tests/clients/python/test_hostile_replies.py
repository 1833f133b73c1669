"""Addresses of replies that end a publisher's connection in some version of RabbitMQ, and reply
queues with names that look like those of streamwatch."""

from __future__ import annotations

import base64
import json
import struct
import time
from urllib.parse import quote

import pika
import pytest

from processes import Site, eventually
from streamwatch_client import StreamwatchClient, new_stream_id

KEY = "a2V5"


def direct(node: bytes, number: int = 1, serial: int = 0, tag: int = 118, key: str = KEY) -> str:
    """A direct reply-to as RabbitMQ generates it, or a forged one."""
    short = tag in (115, 119)
    length = bytes([len(node)]) if short else struct.pack(">H", len(node))
    numbers = struct.pack(">III", number, serial, 1)
    process = bytes([131, 88, tag]) + length + node + numbers
    return f"amq.rabbitmq.reply-to.{base64.b64encode(process).decode()}.{key}"


MADE_UP = {
    "a node that is not there": direct(b"reply@12345"),
    "another prefix": direct(b"rabbit@host"),
    "no at sign": direct(b"rabbit"),
    "not UTF-8": direct(b"\xff\xfe@12345"),
    "an old atom": direct(b"reply@12345", tag=100),
    "a short name": direct(b"reply@12345", tag=119),
    "no number that exists": direct(b"reply@12345", number=2**32 - 1, serial=2**32 - 1),
    "no key": direct(b"reply@12345", key=""),
    "no process": "amq.rabbitmq.reply-to.AAAA.a2V5",
    "the bare name": "amq.rabbitmq.reply-to.",
}


def sessions(site: Site) -> float:
    """Sessions that all workers have lost."""
    return sum(site.metric("streamwatch_reconnects_total").values())


def own_process(client: StreamwatchClient) -> bytes:
    """The name of the node in this client's own direct reply-to."""
    queue = client.channel.queue_declare("", exclusive=True).method.queue
    properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    client.channel.basic_publish("", queue, b"", properties)
    _, properties, _ = client.channel.basic_get(queue, auto_ack=True)
    process = base64.b64decode(properties.reply_to.split(".")[3])
    return process[5 : 5 + struct.unpack(">H", process[3:5])[0]]


@pytest.mark.parametrize("kind", ["status", "init", "heartbeat"])
def test_a_forged_reply_address_ends_no_session_and_delays_no_reply(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    site.wait_for_leader()
    before = sessions(site)
    stopped = client.init(account)["stream"]
    client.stop(account, stopped)
    node = own_process(client)
    addresses = [*MADE_UP.values(), direct(node, number=2**28), direct(node, serial=2**13)]
    body = json.dumps({"account": account, "stream": stopped}).encode()
    for address in addresses:
        client.channel.basic_publish(
            f"{site.namespace}streamwatch",
            f"acme.{kind}",
            body,
            pika.BasicProperties(
                reply_to=address, correlation_id="x", headers={"account": account}
            ),
        )
        asked = time.monotonic()
        assert client.status(account).count == 0
        assert time.monotonic() - asked < 1
    assert sessions(site) == before


QUEUES = ["streamwatch.replies", "shop.streamwatch.replies", "streamwatch.p00.log.replies"]


@pytest.mark.parametrize("queue", QUEUES)
def test_a_reply_queue_may_be_named_after_streamwatch(
    site: Site, client: StreamwatchClient, account: str, queue: str
) -> None:
    channel = client.channel
    channel.queue_declare(queue, exclusive=True)
    properties = pika.BasicProperties(
        reply_to=queue, correlation_id="x", headers={"account": account}
    )
    body = json.dumps({"account": account}).encode()
    channel.basic_publish(f"{site.namespace}streamwatch", "acme.status", body, properties)
    answer = eventually(lambda: channel.basic_get(queue, auto_ack=True)[2], "it is answered")
    assert json.loads(answer)["type"] == "activity"
    channel.queue_delete(queue)


@pytest.mark.parametrize("address", ["/queues/", "/queue/", "/amq/queue/"])
@pytest.mark.parametrize("kind", ["status", "init", "heartbeat"])
def test_a_reply_queue_may_be_an_address(
    site: Site, client: StreamwatchClient, account: str, kind: str, address: str
) -> None:
    site.wait_for_leader()
    channel = client.channel
    queue = f"my/replies {account}"
    channel.queue_declare(queue, exclusive=True)
    body = {"account": account, "stream": "x" if kind == "heartbeat" else new_stream_id()}
    client.publish(kind, body, reply_to=address + quote(queue, safe=""))
    answer = eventually(lambda: channel.basic_get(queue, auto_ack=True)[2], "it is answered")
    types = {"status": "activity", "init": "opened", "heartbeat": "error"}
    assert json.loads(answer)["type"] == types[kind]
    channel.queue_delete(queue)


@pytest.mark.parametrize("address", ["", "/queues/", "/queue/"])
@pytest.mark.parametrize("queue", ["p00.log", "p00.status", "lifecycle.acme.audit"])
def test_no_reply_goes_to_a_queue_of_streamwatch(
    site: Site, client: StreamwatchClient, account: str, queue: str, address: str
) -> None:
    rejected = client.channel.queue_declare("", exclusive=True).method.queue
    client.channel.queue_bind(rejected, f"{site.namespace}streamwatch.rejected", "#")
    properties = pika.BasicProperties(
        reply_to=f"{address}{site.namespace}streamwatch.{queue}", headers={"account": account}
    )
    body = json.dumps({"account": account}).encode()
    client.channel.basic_publish(f"{site.namespace}streamwatch", "acme.status", body, properties)
    told = eventually(
        lambda: client.channel.basic_get(rejected, auto_ack=True)[2], "it is rejected"
    )
    assert json.loads(told)["field"] == "reply_to"


def test_a_reply_has_a_bound_and_counts_all(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    metadata = {f"{n:064}": "x" * 256 for n in range(16)}
    for _ in range(90):
        client.heartbeat(account, new_stream_id(), metadata=metadata)
    key = f"{0:064}"
    seen = client.status(account, group_by=[key], consistency="strong")
    assert seen.count == 90
    assert seen.activity["truncated"] is True
    assert 0 < len(seen.streams) < 90
    assert seen.activity["by"][key] == {"x" * 256: 90}
    assert len(json.dumps(seen.body)) <= 300_000
