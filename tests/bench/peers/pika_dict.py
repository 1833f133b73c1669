"""A worker with pika and a dict: applies the events of a log, and replies to `status` with a count.

Usage: pika_dict.py LOG END EXCHANGE, where END is the offset at which the log counts as drained.
"""

import json
import os
import sys
import time
from collections import defaultdict

import pika

from progress import report

TTL = 3600
log, end, exchange = sys.argv[1], int(sys.argv[2]), sys.argv[3]
deadlines = defaultdict(dict)  # account -> stream -> deadline
applied = 0


def on_event(channel, method, properties, body):
    global applied
    if method.exchange:  # streamwatch's own entries come from the default exchange
        event = json.loads(body)
        if method.routing_key.split(".")[1] == "stop":
            deadlines[event["account"]].pop(event["stream"], None)
        else:
            deadlines[event["account"]][event["stream"]] = time.time() + TTL
        applied += 1
    if method.delivery_tag % 64 == 0:
        channel.basic_ack(method.delivery_tag, multiple=True)
    if properties.headers["x-stream-offset"] == end:
        report("consuming requests", applied)


def on_status(channel, method, properties, body):
    account, now = json.loads(body)["account"], time.time()
    count = sum(deadline > now for deadline in deadlines.get(account, {}).values())
    channel.basic_publish("", properties.reply_to, json.dumps({"account": account, "count": count}),
                          pika.BasicProperties(correlation_id=properties.correlation_id))
    channel.basic_ack(method.delivery_tag)


def expire():
    now = time.time()
    for account in [account for account, streams in deadlines.items() if all(d <= now for d in streams.values())]:
        del deadlines[account]
    connection.call_later(TTL, expire)


connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
requests = connection.channel()
requests.exchange_declare(exchange, "topic", durable=True)
queue = requests.queue_declare(f"{exchange}.status", durable=True, arguments={"x-queue-type": "classic"})
requests.queue_bind(queue.method.queue, exchange, "*.status.#")
requests.basic_qos(prefetch_count=256)
requests.basic_consume(queue.method.queue, on_status)
events = connection.channel()
events.basic_qos(prefetch_count=256)
events.basic_consume(log, on_event, arguments={"x-stream-offset": "first"})
report("attached to the log")
expire()
events.start_consuming()
