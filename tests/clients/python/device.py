"""An MQTT device: a set-top box that starts streams, sends heartbeats, and stops them.

    python device.py mqtt://vhost%3Auser:password@localhost:1883 acme alice tv-4711

It publishes with QoS 1 to RabbitMQ's MQTT plugin: the broker's PUBACK means that the message is
stored. With MQTT 3.1.1, a device receives nothing else and needs nothing else. With MQTT 5, on
RabbitMQ 4, it receives replies: see `ask`.

It needs `pip install paho-mqtt`, and RabbitMQ's user is one of those that
`streamwatch topology roles --mqtt` prints.
"""

from __future__ import annotations

import json
import queue
import secrets
import sys
import threading
import time
import uuid
from urllib.parse import quote, unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SAFE_WITHIN_S = 10.0


def in_topic(account: str) -> str:
    """An account as it stands in a topic: no `/`, `.`, `+` or `#` is left of it."""
    return quote(account, safe="").replace(".", "%2E")


class Device:
    """One connection, and the stream that plays on it."""

    def __init__(self, address: str, tenant: str, account: str, name: str, version: int = 4):
        url = urlsplit(address)
        self.tenant = tenant
        self.account = account
        self.name = name
        self.stream = ""
        self.answers: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.settled = threading.Condition()
        self._announced: mqtt.MQTTMessageInfo | None = None
        # The topic is secret, so that no other device subscribes to it.
        self.reply_topic = self.topic("replies") + "/" + secrets.token_hex(16)
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            # RabbitMQ names the device's queue after it: permissions want tenant and account first.
            client_id=f"{tenant}.{in_topic(account)}.{name}",
            protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311,
        )
        self.client.username_pw_set(unquote(url.username or ""), unquote(url.password or ""))
        self.client.reconnect_delay_set(min_delay=1, max_delay=30)
        self.client.on_pre_connect = self.begin_anew
        self.client.on_connect = self._connected
        self.client.on_message = lambda _client, _data, message: self.answers.put(message)
        # The broker notices within 1.5 times the keep-alive that a device is gone without a word.
        self.client.connect_async(url.hostname or "localhost", url.port or 1883, keepalive=20)

    def topic(self, kind: str) -> str:
        return f"{self.tenant}/{kind}/{in_topic(self.account)}"

    def play(self) -> bool:
        """Connects and starts a stream, and a new one after each loss of the connection. Returns
        whether RabbitMQ has stored the first: the film plays in any case."""
        self.client.loop_start()
        with self.settled:
            if not self.settled.wait_for(lambda: self._announced, SAFE_WITHIN_S):
                return False
        self._announced.wait_for_publish(SAFE_WITHIN_S)
        return self._announced.is_published()

    def begin_anew(self, client: mqtt.Client, _data: object) -> None:
        """A stream that was stopped stays stopped, and the last will of the connection before stops
        it: so each connection has a stream of its own, and a will that stops that one."""
        self.stream = str(uuid.uuid4())
        client.will_set(self.topic("stop"), self._body(), qos=1)

    def _connected(self, client: mqtt.Client, _data: object, _flags: object, code, _more) -> None:
        if code.is_failure:
            return  # paho tries again, and waits longer each time
        if client.protocol == mqtt.MQTTv5:
            client.subscribe(self.reply_topic, qos=1)
        announced = self.publish("init", metadata={"device": self.name})
        with self.settled:
            self._announced = announced
            self.settled.notify_all()

    def heartbeat(self) -> None:
        """To be called every third of the TTL. Single heartbeats may be lost, but one of three in a
        row must arrive."""
        self.publish("heartbeat")

    def stop(self) -> None:
        """Ends the stream and the connection. A device that goes in order leaves no will."""
        self.publish("stop").wait_for_publish(SAFE_WITHIN_S)
        self.client.disconnect()
        self.client.loop_stop()

    def ask(self, kind: str, within: float = 5.0, **body: object) -> dict[str, object] | None:
        """MQTT 5: publishes with a response topic, and waits for the answer; `None` if none comes.

        Without a reply, a device plays on and retries with the same stream.
        """
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = self.reply_topic
        properties.CorrelationData = secrets.token_bytes(16)
        self.publish(kind, properties, **body)
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            try:
                answer = self.answers.get(timeout=left)
            except queue.Empty:
                break
            if answer.properties.CorrelationData == properties.CorrelationData:
                return json.loads(answer.payload)
        return None

    def publish(
        self, kind: str, properties: Properties | None = None, **body: object
    ) -> mqtt.MQTTMessageInfo:
        body = self._body(**body)
        return self.client.publish(self.topic(kind), body, qos=1, properties=properties)

    def _body(self, **more: object) -> str:
        return json.dumps({"account": self.account, "stream": self.stream} | more)


if __name__ == "__main__":
    device = Device(*sys.argv[1:5])
    print("it counts" if device.play() else "it will count", "- Ctrl-C stops it")
    try:
        while True:
            time.sleep(30)
            device.heartbeat()
    except KeyboardInterrupt:
        device.stop()
