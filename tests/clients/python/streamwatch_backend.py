"""A backend in aio-pika, with many questions under way on one connection: copy it, change it.

A backend asks what accounts play, and opens and ends streams on viewers' behalf:

    async with Backend("amqp://localhost", tenant="acme") as backend:
        activity = (await backend.status("alice", group_by=["device"]))["activity"]
        reply = await backend.open("alice", stream=new_stream_id(), max_active=2)
        if reply["type"] == "refused":
            ...                             # the policy is yours: see reply["activity"]
        await backend.stop("alice", stream)

        # Hundreds at once: each task gets its own answer.
        replies = await asyncio.gather(*(backend.status(account) for account in accounts))

What is not answered in time raises `TimeoutError`, and what was under way when the connection
broke `ConnectionError`: in both cases the outcome is unknown. Retry, an `open` with the same
`stream` and `message_id`: that never opens a second stream. Enforce limits in a backend, with
`max_active` or `limits`: they are decided in one step.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

# The pseudo-queue of RabbitMQ's direct reply-to: no reply queue is declared.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"

Body = dict[str, Any]


class Rejected(Exception):
    """A worker answered with an error: `code`, and whether the same may succeed later."""

    def __init__(self, error: Body):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.field: str | None = error.get("field")
        self.retryable: bool = error.get("retryable", False)
        # Milliseconds to wait before a retry: of `throttled`, until the request is accepted.
        self.retry_after_ms: int | None = error.get("retry_after_ms")


def new_stream_id() -> str:
    """A stream's id, made before the first try: so that a retry names the same stream."""
    return str(uuid.uuid4())


class Backend:
    def __init__(
        self,
        url: str,
        tenant: str,
        namespace: str = "",
        timeout: float = 10.0,
        most_under_way: int = 1000,
    ):
        self.url = url
        self.tenant = tenant
        self.exchange_name = f"{namespace}streamwatch"
        self.timeout = timeout
        # Beyond it a question waits here, inside its timeout, and not in the broker.
        self._under_way = asyncio.Semaphore(most_under_way)
        # Pending requests by correlation id.
        self._waiting: dict[str, asyncio.Future[Body]] = {}
        # Requests that each partition answers.
        self._answers: dict[str, asyncio.Queue[Body]] = {}

    async def __aenter__(self) -> Backend:
        # Comes back by itself when the broker does. Not all backends at the same moment.
        self._connection = await aio_pika.connect_robust(
            self.url, timeout=self.timeout, reconnect_interval=random.uniform(0.5, 1.5)
        )
        self._connection.close_callbacks.add(self._on_lost)
        # With publisher confirms, which is the default: what has been published is safe.
        channel = await self._connection.channel()
        self._exchange = await channel.get_exchange(self.exchange_name, ensure=False)
        # The consumer comes first, and on the same channel as the requests. `passive`: it is
        # there, and declared once more only so that aio-pika consumes from it after a reconnect.
        replies = await channel.declare_queue(DIRECT_REPLY_TO, passive=True)
        await replies.consume(self._on_reply, no_ack=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    # Requests

    async def status(
        self,
        account: str,
        *,
        stream: str | None = None,
        group_by: list[str] | None = None,
        consistency: str | None = None,
    ) -> Body:
        """The account's activity. `consistency="strong"` counts all that was confirmed before."""
        return await self._ask(
            "status", account, stream=stream, group_by=group_by, consistency=consistency
        )

    async def open(
        self,
        account: str,
        *,
        stream: str,
        metadata: Body | None = None,
        max_active: int | None = None,
        limits: list[Body] | None = None,
        same: list[str] | None = None,
        on_limit: str | None = None,
        replace: list[str] | None = None,
        reason: str | None = None,
        message_id: str | None = None,
    ) -> Body:
        """`opened` or `refused`. A retry repeats `stream` and `message_id`.

        `limits` count streams by metadata: at most three devices, and two live streams, are
        `[{"max": 3, "distinct": "device"}, {"max": 2, "where": {"kind": ["live"]}}]`.
        """
        return await self._ask(
            "init",
            account,
            message_id or str(uuid.uuid4()),
            stream=stream,
            metadata=metadata,
            max_active=max_active,
            limits=limits,
            same=same,
            on_limit=on_limit,
            replace=replace,
            reason=reason,
        )

    async def stop(self, account: str, stream: str, reason: str | None = None) -> None:
        """Ends the stream. There is no answer: the broker's confirm is enough."""
        async with asyncio.timeout(self.timeout):
            await self._publish("stop", account, {"stream": stream, "reason": reason})

    async def stop_all(self, account: str, reason: str | None = None) -> None:
        """Ends all active streams of the account. Their players get the reason."""
        async with asyncio.timeout(self.timeout):
            await self._publish("stop", account, {"all": True, "reason": reason})

    async def batch(
        self, partition: int, events: list[Body], *, partitions: int | None = None
    ) -> None:
        """Publishes up to 1,000 heartbeats and stops of accounts of one partition.

        Each event is the body of a message of its own, with its `kind`. The partition of an
        account, and the number of partitions, are in each reply to `open` and `status`.
        """
        fields = {"partition": partition, "partitions": partitions, "events": events}
        await self._publish("batch", events[0]["account"], fields)

    async def accounts(
        self, *, min_active: int = 1, after: str | None = None, limit: int = 1000
    ) -> tuple[list[Body], str | None]:
        """A page of the tenant's accounts with at least `min_active` streams, in order.

        The second value is the `after` of the next page, None after the last one.
        """
        replies = await self._ask_each(
            "accounts", min_active=min_active, after=after, limit=limit
        )
        # Behind the end of one partition's page, another account may follow.
        ends = [reply["next"] for reply in replies if "next" in reply]
        end = min(ends, key=str.encode, default=None)
        accounts = [account for reply in replies for account in reply["accounts"]]
        accounts.sort(key=lambda it: it["account"].encode())
        if end is not None:
            accounts = [it for it in accounts if it["account"].encode() <= end.encode()]
        return accounts, end

    async def totals(self, group_by: list[str] | None = None) -> Body:
        """The tenant's `streams` and `accounts`, and the streams `by` what is counted."""
        sums: Body = {"streams": 0, "accounts": 0, "by": {}}
        for reply in await self._ask_each("totals", group_by=group_by):
            sums["streams"] += reply["streams"]
            sums["accounts"] += reply["accounts"]
            for key, counts in reply.get("by", {}).items():
                of_key = sums["by"].setdefault(key, {})
                for value, count in counts.items():
                    of_key[value] = of_key.get(value, 0) + count
        return sums

    # How a message goes out and an answer comes in

    async def _ask_each(self, kind: str, **fields: Any) -> list[Body]:
        """The answer of each partition. It raises `TimeoutError` if one does not answer."""
        correlation_id = str(uuid.uuid4())
        replies: dict[int, Body] = {}
        async with asyncio.timeout(self.timeout), self._under_way:
            answers = self._answers[correlation_id] = asyncio.Queue()
            try:
                await self._publish(
                    kind,
                    None,
                    fields,
                    reply_to=DIRECT_REPLY_TO,
                    correlation_id=correlation_id,
                )
                partitions = None
                while partitions is None or len(replies) < partitions:
                    reply = await answers.get()
                    if reply["type"] == "error":
                        raise Rejected(reply["error"])
                    partitions = reply["partitions"]
                    replies[reply["partition"]] = reply
            finally:
                del self._answers[correlation_id]
        return list(replies.values())

    async def _ask(
        self, kind: str, account: str, message_id: str | None = None, **fields: Any
    ) -> Body:
        correlation_id = str(uuid.uuid4())
        async with asyncio.timeout(self.timeout), self._under_way:
            answer = asyncio.get_running_loop().create_future()
            self._waiting[correlation_id] = answer
            try:
                await self._publish(
                    kind,
                    account,
                    fields,
                    reply_to=DIRECT_REPLY_TO,
                    correlation_id=correlation_id,
                    message_id=message_id,
                )
                reply = await answer
            finally:
                del self._waiting[correlation_id]
        if reply["type"] == "error":
            raise Rejected(reply["error"])
        return reply

    async def _publish(
        self, kind: str, account: str | None, fields: Body, **properties: Any
    ) -> None:
        body = {k: v for k, v in fields.items() if v is not None}
        if kind != "batch" and account is not None:
            body["account"] = account
        message = aio_pika.Message(
            json.dumps(body).encode(),
            # It picks the partition.
            headers={} if account is None else {"account": account},
            content_type="application/json",
            **properties,
        )
        try:
            await self._exchange.publish(message, f"{self.tenant}.{kind}")
        except (AMQPError, RuntimeError) as error:
            raise ConnectionError(f"{kind} may not have reached the broker: {error}") from error

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        answer = self._waiting.get(message.correlation_id or "")
        # A late one is not waited for any more.
        if answer is not None and not answer.done():
            answer.set_result(json.loads(message.body))
        answers = self._answers.get(message.correlation_id or "")
        if answers is not None:
            answers.put_nowait(json.loads(message.body))

    def _on_lost(self, *_: object) -> None:
        """Fails the pending requests, because replies to the lost connection cannot arrive."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the connection broke"))
        for answers in self._answers.values():
            answers.put_nowait(
                {"type": "error", "error": {"code": "lost", "message": "the connection broke"}}
            )
