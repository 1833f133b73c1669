"""A client of streamwatch over AMQP 1.0, for RabbitMQ 4, with RabbitMQ's own library.

    pip install rabbitmq-amqp-python-client==2.0.0b2

    with Amqp10Client(ConnectionParameters(user="…", password="…"), "acme") as client:
        opened = client.request("init", {"account": "alice", "stream": stream, "max_active": 2})
        client.publish("heartbeat", {"account": "alice", "stream": stream})
        client.publish("stop", {"account": "alice", "stream": stream})

Replies arrive by direct reply-to, which needs RabbitMQ 4.2 and no permission. On an older
RabbitMQ, name a queue in `reply_queue`: an operator declares it, for this client alone, and permits
the user to read it. The library connects again by itself.
"""

from __future__ import annotations

import json
import queue
import time
import uuid
from types import TracebackType
from typing import Any

from rabbitmq_amqp_python_client import (
    ApplicationProperties,
    Connection,
    ConnectionParameters,
    ConsumerSettleStrategy,
    Context,
    Header,
    Message,
    OutcomeState,
    Properties,
    exchange_address,
    queue_address,
)

Json = dict[str, Any]


class NotPublished(Exception):
    """RabbitMQ did not take the message: the topology is missing, or a queue is full."""


class Amqp10Client:
    def __init__(
        self,
        parameters: ConnectionParameters,
        tenant: str,
        namespace: str = "",
        reply_queue: str | None = None,
    ):
        self.tenant = tenant
        self.exchange = f"{namespace}streamwatch"
        # Replies to heartbeats too: what no request waits for.
        self.news: list[Json] = []
        self._replies: queue.Queue[tuple[object, Json]] = queue.Queue()
        self._connection = Connection(parameters)
        consumer = self._connection.consumer_builder().message_handler(self._on_reply)
        if reply_queue is None:
            consumer = consumer.settle_strategy(ConsumerSettleStrategy.DIRECT_REPLY_TO)
        else:
            consumer = consumer.queue(reply_queue)
        # Direct replies are not stored: without credits they are lost.
        self._consumer = consumer.initial_credits(100).build()
        self._reply_queue = reply_queue
        self._publisher = self._connection.publisher_builder().build()

    def publish(self, kind: str, body: Json, message_id: str | None = None) -> str:
        """Publishes a message, waits until RabbitMQ has stored it, and returns its id."""
        message_id = message_id or str(uuid.uuid4())
        # It picks the partition: any account of a batch does.
        account = body.get("account") or body["events"][0]["account"]
        self._publish(kind, json.dumps(body), account, Properties(message_id=message_id))
        return message_id

    def request(
        self, kind: str, body: Json, message_id: str | None = None, patience: float = 10
    ) -> Json:
        """Publishes a request, and returns its reply. Repeat it with the same ids after a timeout."""
        message_id = self.publish(kind, body, message_id)
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            try:
                # Without a correlation id in the request, it is the request's message id.
                correlation_id, reply = self._replies.get(timeout=left)
            except queue.Empty:
                break
            if correlation_id == message_id:
                return reply
            self.news.append(reply)
        raise TimeoutError(f"no reply to {kind} within {patience} s")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Amqp10Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _publish(self, kind: str, body: Any, account: str | None, properties: Properties) -> None:
        properties.to = exchange_address(self.exchange, f"{self.tenant}.{kind}")
        # Direct reply-to has another address after each reconnect.
        properties.reply_to = (
            queue_address(self._reply_queue) if self._reply_queue else self._consumer.address
        )
        properties.content_type = "application/json"
        message = Message(body, header=Header(durable=True), properties=properties)
        if account is not None:
            message.application_properties = ApplicationProperties({"account": account})
        outcome = self._publisher.publish(message).outcome
        if outcome.state is not OutcomeState.ACCEPTED:
            raise NotPublished(outcome)

    def _on_reply(self, context: Context, message: Message) -> None:
        if not context.is_presettled:
            context.accept()
        properties = message.properties or Properties()
        self._replies.put((properties.correlation_id, json.loads(message.body_as_bytes())))
