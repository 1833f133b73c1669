"""Clients over AMQP 1.0, which RabbitMQ 4 understands, with the permissions of their roles."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from pika.exceptions import ChannelClosedByBroker
from rabbitmq_amqp_python_client import (
    AMQPError,
    AmqpSequence,
    AmqpValue,
    Data,
    Message,
    MessageAnnotations,
    Properties,
)

import roles
from installations import DIRECT_REPLIES_BY_AMQP_1_0, Installation
from processes import eventually
from streamwatch_amqp10 import Amqp10Client
from streamwatch_client import new_stream_id

PLUGINS = "rabbitmq_mqtt"
FIRST_WITH_AMQP_1_0 = (4, 0)


class Recorder(Amqp10Client):
    """A client that keeps each received message, and sends the bodies and properties of a test."""

    def __init__(self, *arguments: Any, **options: Any):
        self.received: list[Message] = []
        super().__init__(*arguments, **options)

    def _on_reply(self, context: Any, message: Message) -> None:
        self.received.append(message)
        super()._on_reply(context, message)

    def send(self, kind: str, body: Any, account: str | None, **properties: Any) -> Message:
        """Publishes a message and returns its reply, which is the only one."""
        before = len(self.received)
        self._publish(kind, body, account, Properties(**properties))
        eventually(lambda: len(self.received) > before, f"a reply to {kind}")
        return self.received[before]


def connected(here: Installation, role: str) -> Recorder:
    if here.version < FIRST_WITH_AMQP_1_0:
        pytest.skip("this RabbitMQ has AMQP 1.0 only as a plugin")
    return here.amqp10(role, Recorder)


@pytest.fixture
def player(here: Installation) -> Iterator[Recorder]:
    with connected(here, roles.PLAYER) as client:
        yield client


@pytest.fixture
def backend(here: Installation) -> Iterator[Recorder]:
    with connected(here, roles.BACKEND) as client:
        yield client


def correlation(reply: Message) -> object:
    """The id that a reply returns: a property, or an annotation."""
    assert reply.properties is not None
    if reply.properties.correlation_id is not None:
        return reply.properties.correlation_id
    annotations = (reply.message_annotations or MessageAnnotations({})).value
    return {str(key): value for key, value in annotations.items()}.get("x-correlation-id")


def content(reply: Message) -> dict[str, Any]:
    return json.loads(reply.body_as_bytes())


def count(client: Amqp10Client, account: str) -> int:
    status = {"account": account, "consistency": "strong"}
    return client.request("status", status)["activity"]["count"]


def test_a_stream_is_opened_kept_and_stopped(player: Recorder, account: str) -> None:
    stream = new_stream_id()
    body = {"account": account, "stream": stream}
    opened = player.request("init", {**body, "max_active": 1, "metadata": {"device": "tv"}})
    assert (opened["type"], opened["stream"]) == ("opened", stream)
    player.publish("heartbeat", body)
    assert count(player, account) == 1
    refused = player.request("init", {"account": account, "max_active": 1})
    assert (refused["type"], refused["reason"]) == ("refused", "max_active")
    player.publish("stop", body)
    assert count(player, account) == 0


def test_a_heartbeat_of_a_stopped_stream_gets_the_news(player: Recorder, account: str) -> None:
    body = {"account": account, "stream": new_stream_id()}
    player.publish("stop", body)
    assert count(player, account) == 0
    heartbeat = player.publish("heartbeat", body)
    eventually(lambda: len(player.received) > 1, "the news arrives")
    assert content(player.received[-1])["type"] == "stopped"
    assert correlation(player.received[-1]) == heartbeat


def test_a_repeated_request_gets_the_same_decision(player: Recorder, account: str) -> None:
    first = player.request("init", {"account": account}, "request-1")
    assert player.request("init", {"account": account}, "request-1")["stream"] == first["stream"]
    assert count(player, account) == 1


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        (roles.PLAYER, "status"),
        (roles.BACKEND, "status"),
        (roles.A_VIEWER, f"status.{roles.VIEWER}"),
    ],
)
def test_each_role_receives_its_replies(here: Installation, role: str, kind: str) -> None:
    with connected(here, role) as client:
        assert client.request(kind, {"account": roles.VIEWER})["type"] == "activity"


def test_a_message_for_another_tenant_is_refused(player: Recorder, account: str) -> None:
    player.tenant = roles.OTHER_TENANT
    with pytest.raises(AMQPError, match="refused"):
        player.publish("status", {"account": account})


def test_no_other_client_receives_direct_replies(here: Installation, player: Recorder) -> None:
    if here.version < DIRECT_REPLIES_BY_AMQP_1_0:
        pytest.skip("this RabbitMQ has no direct reply-to over AMQP 1.0")
    address = player._consumer.address
    assert address is not None
    with here.channel(roles.BACKEND) as channel:
        with pytest.raises(ChannelClosedByBroker, match="only creator channel may consume"):
            channel.basic_consume(unquote(address.removeprefix("/queues/")), lambda *_: None)


# The bodies in which a text can be sent.
SECTIONS: dict[str, Callable[[str], Any]] = {
    "a string": AmqpValue,
    "binary": lambda text: AmqpValue(text.encode()),
    "data": lambda text: Data(text.encode()),
    "two data sections": lambda text: [Data(text[:9].encode()), Data(text[9:].encode())],
}


ROUTES = pytest.mark.parametrize("by_header", [True, False], ids=["by header", "by the intake"])


@ROUTES
@pytest.mark.parametrize("section", SECTIONS)
def test_a_body_may_be_a_string_or_binary(
    player: Recorder, account: str, section: str, by_header: bool
) -> None:
    encode, routed = SECTIONS[section], account if by_header else None
    body = {"account": account, "stream": new_stream_id()}
    text = json.dumps({**body, "metadata": {"asset": "x" * 250}})
    opened = player.send("init", encode(text), routed, message_id="a")
    assert (content(opened)["type"], correlation(opened)) == ("opened", "a")
    text = json.dumps(body)
    seen = player.send("status", encode(text), routed, message_id="b")
    assert (content(seen)["state"], correlation(seen)) == ("active", "b")
    player._publish("stop", encode(text), routed, Properties())
    eventually(lambda: count(player, account) == 0, "the stop counts")
    told = player.send("heartbeat", encode(text), routed, message_id="c")
    assert (content(told)["type"], correlation(told)) == ("stopped", "c")


def test_a_batch_may_be_a_string_or_binary(backend: Recorder, account: str) -> None:
    partition = backend.request("status", {"account": account})["partition"]
    heartbeat = {"kind": "heartbeat", "account": account}
    streams = [new_stream_id() for _ in range(90)]
    events = [*({**heartbeat, "stream": stream} for stream in streams), {"kind": "stop"}]
    text = json.dumps({"partition": partition, "events": events})
    for encode in SECTIONS.values():
        reply = backend.send("batch", encode(text), account, message_id="a")
        assert [event["index"] for event in content(reply)["events"]] == [90]
    assert count(backend, account) == 90


OTHER_BODIES = {
    "a map": AmqpValue({"account": "alice"}),
    "a list": AmqpValue(["alice"]),
    "null": AmqpValue(None),
    "a number": AmqpValue(7),
    "a sequence": AmqpSequence(["alice"]),
}


@ROUTES
def test_any_other_body_gets_an_error_that_names_the_accepted_forms(
    player: Recorder, account: str, by_header: bool
) -> None:
    routed = account if by_header else None
    for found, body in OTHER_BODIES.items():
        message = f"the body in AMQP 1.0 is {found}: send a data section with JSON"
        for kind in roles.KINDS:
            error = content(player.send(kind, body, routed, message_id="a"))["error"]
            assert (error["code"], error["message"]) == ("bad_json", message)


IDS = ["a string", uuid.uuid4(), b"\x00\xff", "long" * 256]


@ROUTES
def test_a_reply_has_the_id_of_its_request(
    player: Recorder, account: str, by_header: bool
) -> None:
    body = json.dumps({"account": account, "stream": "x"})
    routed = account if by_header else None
    for id_ in IDS:
        for ids in [
            {"message_id": id_},
            {"correlation_id": id_},
            {"correlation_id": id_, "message_id": "another"},
        ]:
            for kind in roles.KINDS:
                reply = player.send(kind, body, routed, **ids)
                assert correlation(reply) == id_, f"{kind} with {ids}"


def test_a_request_with_a_binary_id_is_deduplicated(player: Recorder, account: str) -> None:
    body = json.dumps({"account": account})
    streams = set()
    for routed in [account, None, account]:
        streams.add(content(player.send("init", body, routed, message_id=b"\xff"))["stream"])
    assert len(streams) == count(player, account) == 1
