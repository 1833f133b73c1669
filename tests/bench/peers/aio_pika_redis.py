"""A worker with aio-pika and Redis: applies the events of a log, and replies to `status` with a count.

Usage: aio_pika_redis.py LOG END EXCHANGE, where END is the offset at which the log counts as drained.
Redis has one sorted set for each account: the streams with their deadlines.
"""

import asyncio
import json
import os
import sys
import time

import aio_pika
from redis.asyncio import Redis

from progress import report

TTL = 3600
log, end, exchange = sys.argv[1], int(sys.argv[2]), sys.argv[3]


async def main():
    redis = Redis.from_url(os.environ["REDIS_URL"])
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])

    async def on_status(request):
        async with request.process():
            account = json.loads(request.body)["account"]
            count = await redis.zcount(account, time.time(), "+inf")
            reply = aio_pika.Message(json.dumps({"account": account, "count": count}).encode(),
                                     correlation_id=request.correlation_id)
            await requests.default_exchange.publish(reply, request.reply_to)

    requests = await connection.channel()
    await requests.set_qos(prefetch_count=256)
    questions = await requests.declare_exchange(exchange, "topic", durable=True)
    queue = await requests.declare_queue(f"{exchange}.status", durable=True, arguments={"x-queue-type": "classic"})
    await queue.bind(questions, "*.status.#")
    await queue.consume(on_status)

    events = await connection.channel()
    await events.set_qos(prefetch_count=256)
    arrived = asyncio.Queue()
    await (await events.get_queue(log)).consume(arrived.put, arguments={"x-stream-offset": "first"})
    report("attached to the log")
    applied = 0
    while True:
        batch = [await arrived.get()]
        while len(batch) < 64 and not arrived.empty():
            batch.append(arrived.get_nowait())
        async with redis.pipeline(transaction=False) as commands:
            for message in batch:
                if not message.exchange:  # streamwatch's own entries come from the default exchange
                    continue
                event = json.loads(message.body)
                if message.routing_key.split(".")[1] == "stop":
                    commands.zrem(event["account"], event["stream"])
                else:
                    commands.zadd(event["account"], {event["stream"]: time.time() + TTL})
                    commands.expire(event["account"], TTL)
                applied += 1
            await commands.execute()
        await batch[-1].ack(multiple=True)
        if batch[0].headers["x-stream-offset"] <= end <= batch[-1].headers["x-stream-offset"]:
            report("consuming requests", applied)


asyncio.run(main())
