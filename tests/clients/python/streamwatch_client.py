"""A streamwatch client in plain pika: read it, copy it, change it.

A player sends three kinds of AMQP messages to the topic exchange
`streamwatch`, with the routing key `<tenant>.<kind>`, a JSON body and a header
`account` that equals the body's:

    with StreamwatchClient("amqp://localhost", tenant="acme") as client:
        stream = new_stream_id()              # made once, before the first try
        answer = client.init("alice", stream, metadata={"device": "tv"}, max_active=2)
        if answer.type == "refused":
            ...                               # the policy is yours: see answer.activity
        while playing:                        # every answer["heartbeat_every_ms"]
            client.heartbeat("alice", stream)
            if client.bad_news(timeout=0):    # ended from elsewhere: stop playing
                break
        client.stop("alice", stream)

An app or a backend asks:

    client.status("alice", group_by=["device"]).activity["count"]

Answers come by RabbitMQ's direct reply-to: no reply queue is declared. When
no reply arrives (`NoAnswer`), a player plays all the same and sends heartbeats
with its own stream id, which take effect. It tries its init again later, with the same
stream id and the same message_id, and that never opens a second stream.

One client is one connection and belongs to one thread, as pika wants it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pika

# Pairs of a stream, such as its device. Numbers and booleans are kept as their JSON text.
Metadata = dict[str, str | int | float | bool | None]

# The pseudo-queue of RabbitMQ's direct reply-to.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


class NoAnswer(Exception):
    """No reply in time: the outcome is unknown. Play, and retry."""


def new_stream_id() -> str:
    """A stream's id. The player makes it, so that a retry names the same stream."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Reply:
    """One answer: its JSON body and its AMQP properties."""

    body: dict[str, Any]
    properties: pika.BasicProperties
    received_at: float = field(default_factory=time.monotonic)

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def type(self) -> str:
        return self.body["type"]

    @property
    def activity(self) -> dict[str, Any]:
        return self.body["activity"]

    @property
    def count(self) -> int:
        return self.activity["count"]

    @property
    def streams(self) -> dict[str, dict[str, Any]]:
        """The account's active streams by their id."""
        return {record["stream"]: record for record in self.activity["streams"]}


class StreamwatchClient:
    def __init__(
        self,
        url: str,
        tenant: str,
        namespace: str = "",
        timeout: float = 10.0,
        confirms: bool = True,
    ):
        self.tenant = tenant
        self.namespace = namespace
        self.timeout = timeout
        # Replies that were not awaited yet, oldest first.
        self.inbox: list[Reply] = []
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        # With publisher confirms a publish returns once the broker has the message safe;
        # with `mandatory` it raises when no topology is declared there. Without, a publish does
        # not wait: good for many questions at once, not for a stop.
        if confirms:
            self.channel.confirm_delivery()
        # The consumer comes first, and on the same channel as the requests.
        self.channel.basic_consume(DIRECT_REPLY_TO, self._on_reply, auto_ack=True)

    def __enter__(self) -> StreamwatchClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.connection.is_open:
            self.connection.close()

    # Messages of players

    def init(
        self,
        account: str,
        stream: str | None = None,
        *,
        metadata: Metadata | None = None,
        max_active: int | None = None,
        limits: list[dict[str, Any]] | None = None,
        same: list[str] | None = None,
        on_limit: str | None = None,
        replace: list[str] | None = None,
        reason: str | None = None,
        message_id: str | None = None,
    ) -> Reply:
        """Asks to open a stream: `opened`, `refused` or `error`.

        A retry repeats `stream` and `message_id`. `limits` count streams by metadata:
        `[{"max": 2, "where": {"kind": ["live"]}}, {"max": 3, "distinct": "device"}]`.
        """
        body = _without_none(
            account=account,
            stream=stream,
            metadata=metadata,
            max_active=max_active,
            limits=limits,
            same=same,
            on_limit=on_limit,
            replace=replace,
            reason=reason,
        )
        return self.request("init", body, message_id=message_id or str(uuid.uuid4()))

    def heartbeat(
        self,
        account: str,
        stream: str,
        *,
        metadata: Metadata | None = None,
        heartbeat_every_ms: int | None = None,
        want_bad_news: bool = True,
    ) -> str:
        """Keeps the stream active, from a player that was last sent that interval.

        The metadata is merged: a key replaces its value, `None` removes it, absent keys stay.
        There is an answer only if the stream was ended, or the interval has changed.
        Returns the heartbeat's correlation_id, which that answer would carry.
        """
        body = _without_none(
            account=account,
            stream=stream,
            heartbeat_every_ms=heartbeat_every_ms,
            metadata=metadata,
        )
        return self.publish("heartbeat", body, want_reply=want_bad_news)

    def stop(self, account: str, stream: str, reason: str | None = None) -> None:
        """Ends the stream. There is no answer: the broker's confirm is enough."""
        body = _without_none(account=account, stream=stream, reason=reason)
        self.publish("stop", body, want_reply=False)

    def stop_all(self, account: str, reason: str | None = None) -> None:
        """Ends all active streams of the account. Their players get the reason."""
        body = _without_none(account=account, all=True, reason=reason)
        self.publish("stop", body, want_reply=False)

    def bad_news(self, timeout: float | None = None) -> Reply | None:
        """The next `stopped` that a heartbeat of ours got, or None."""
        return self._take(lambda reply: reply.type == "stopped", timeout)

    def news(self, timeout: float | None = None) -> Reply | None:
        """The next `interval` that a heartbeat of ours got, or None."""
        return self._take(lambda reply: reply.type == "interval", timeout)

    # Requests of apps and backends

    def status(
        self,
        account: str,
        *,
        stream: str | None = None,
        group_by: list[str] | None = None,
        consistency: str | None = None,
    ) -> Reply:
        """The account's activity. `consistency="strong"` counts all that was confirmed before."""
        body = _without_none(
            account=account, stream=stream, group_by=group_by, consistency=consistency
        )
        return self.request("status", body)

    # Events of many players, for backends

    def batch(
        self,
        partition: int,
        events: list[dict[str, Any]],
        *,
        partitions: int | None = None,
        want_bad_news: bool = True,
        **properties: Any,
    ) -> str:
        """Publishes up to 1,000 heartbeats and stops of accounts of one partition.

        Each event is the body of a message of its own, with its `kind`. The partition of
        an account, and the number of partitions, are in each reply to `init` and `status`.
        There is an answer only if there is bad news: `batch`, with the news of each event.
        Returns the correlation_id, which that answer would carry.
        """
        body = _without_none(partition=partition, partitions=partitions, events=events)
        # The header picks the partition: any account in it does.
        accounts = [event["account"] for event in events if "account" in event]
        properties.setdefault("headers", {"account": accounts[0]} if accounts else {})
        return self.publish("batch", body, want_reply=want_bad_news, **properties)

    # How a message goes out and an answer comes in

    def request(self, kind: str, body: dict[str, Any] | bytes, **options: Any) -> Reply:
        """Publishes a request and waits for its answer."""
        return self.wait_for(self.publish(kind, body, **options))

    def publish(
        self,
        kind: str,
        body: dict[str, Any] | bytes,
        *,
        want_reply: bool = True,
        account_in_key: str | None = None,
        routing_key: str | None = None,
        **properties: Any,
    ) -> str:
        """Publishes one message and returns its correlation_id.

        `account_in_key` puts the account into the routing key as well; permissions
        for one account need that. `properties` are AMQP properties, and go
        before those that would be set here.
        """
        headers = {}
        if isinstance(body, dict):
            if isinstance(body.get("account"), str):
                # The header picks the partition.
                headers["account"] = body["account"]
            body = json.dumps(body).encode()
        if routing_key is None:
            routing_key = f"{self.tenant}.{kind}"
        if account_in_key is not None:
            routing_key += "." + percent_encoded(account_in_key)
        properties.setdefault("headers", headers)
        properties.setdefault("content_type", "application/json")
        properties.setdefault("correlation_id", str(uuid.uuid4()))
        properties.setdefault("reply_to", DIRECT_REPLY_TO if want_reply else None)
        self.channel.basic_publish(
            exchange=f"{self.namespace}streamwatch",
            routing_key=routing_key,
            body=body,
            properties=pika.BasicProperties(**properties),
            mandatory=True,
        )
        return properties["correlation_id"]

    def wait_for(self, correlation_id: str | None, timeout: float | None = None) -> Reply:
        """The answer to the request with this correlation_id."""
        timeout = self.timeout if timeout is None else timeout
        reply = self._take(lambda r: r.properties.correlation_id == correlation_id, timeout)
        if reply is None:
            raise NoAnswer(f"no answer in {timeout} s; unclaimed answers: {self.inbox}")
        return reply

    def listen(self, seconds: float) -> list[Reply]:
        """All that comes, and was not claimed, until so much time has passed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.connection.process_data_events(time_limit=left)
        replies, self.inbox = self.inbox, []
        return replies

    def _take(self, wanted: Callable[[Reply], bool], timeout: float | None) -> Reply | None:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        self.connection.process_data_events(time_limit=0)
        while True:
            for index, reply in enumerate(self.inbox):
                if wanted(reply):
                    return self.inbox.pop(index)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            # Returns as soon as something has come in.
            self.connection.process_data_events(time_limit=left)

    def _on_reply(
        self,
        _channel: Any,
        _method: Any,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        self.inbox.append(Reply(json.loads(body), properties))


def percent_encoded(account: str) -> str:
    """The account as a word of a routing key: a dot would split it, so it is encoded too."""
    return quote(account, safe="").replace(".", "%2E")


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
