"""MQTT devices with a third-party client, under the roles that the program prints for them.

With MQTT 3.1.1 they only publish; with MQTT 5 (RabbitMQ 4 and later) they are answered too.
"""

from __future__ import annotations

import json
import queue
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote, unquote, urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import roles
from device import Device, in_topic
from installations import Installation
from processes import Node, eventually
from roles import OTHER_ACCOUNT, OTHER_TENANT, TENANT, VIEWER
from streamwatch_client import new_stream_id

PLUGINS = "rabbitmq_mqtt"
NOT_AUTHORIZED = 135


@pytest.fixture(scope="module")
def versions(node: Node) -> list[int]:
    """The versions of MQTT that this RabbitMQ supports, by paho's numbers."""
    return [4, 5] if node.version() >= (4,) else [4]


@pytest.fixture
def mqtt5(versions: list[int]) -> None:
    if 5 not in versions:
        pytest.skip("this RabbitMQ does not support MQTT 5")


def address(here: Installation, role: str) -> str:
    """The plugin takes the virtual host from the front of the user's name."""
    user, password = here.permissions.user(role)
    user = quote(f"{here.vhost}:{user}", safe="")
    return f"mqtt://{user}:{password}@127.0.0.1:{here.node.port('mqtt')}"


@contextmanager
def playing(
    here: Installation, account: str, version: int = 4, role: str = roles.MQTT
) -> Iterator[Device]:
    device = Device(address(here, role), TENANT, account, secrets.token_hex(4), version)
    device.client.reconnect_delay_set(0.1, 1)
    try:
        assert device.play()
        yield device
    finally:
        with suppress(RuntimeError):
            device.client.disconnect()
        device.client.loop_stop()


@contextmanager
def connected(
    here: Installation, role: str, version: int, client: str = f"{TENANT}.{VIEWER}."
) -> Iterator[tuple[mqtt.Client, queue.Queue]]:
    """A bare client and its input: PUBACKs, SUBACKs, messages, the end of its connection."""
    heard: queue.Queue = queue.Queue()
    url = urlsplit(address(here, role))
    bare = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=client + secrets.token_hex(4),
        protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311,
    )
    bare.username_pw_set(unquote(url.username or ""), url.password)
    bare.connect_async("127.0.0.1", url.port)
    bare.on_connect = lambda _c, _d, _f, code, _p: heard.put(("connected", code))
    bare.on_publish = lambda _c, _d, _m, code, _p: heard.put(("puback", code))
    bare.on_subscribe = lambda _c, _d, _m, codes, _p: heard.put(("suback", codes[0]))
    bare.on_disconnect = lambda _c, _d, _f, code, _p: heard.put(("ended", code))
    bare.on_message = lambda _c, _d, message: heard.put(("message", message))
    bare.loop_start()
    try:
        assert heard.get(timeout=10)[0] == "connected"
        yield bare, heard
    finally:
        bare.disconnect()
        bare.loop_stop()


def answer(heard: queue.Queue) -> tuple[str, object]:
    return heard.get(timeout=10)


def refused(heard: queue.Queue) -> bool:
    """RabbitMQ refused it, by an error code or by closing the connection."""
    what, code = answer(heard)
    return what == "ended" or code.value == NOT_AUTHORIZED or (what == "suback" and code.is_failure)


def refusals(here: Installation) -> dict[str, int]:
    """Rejections by error code. A stop that overtakes its init is no bad input."""
    counts = here.site.bad_input()
    return {code: n for code, n in counts.items() if "_" in code and n}


def count(here: Installation, account: str, tenant: str = TENANT) -> int:
    with here.client(f"{tenant}.player", tenant) as backend:
        return backend.status(account, consistency="strong").count


def soon(condition: Callable[[], object], what: str) -> None:
    eventually(condition, what, within=10, every=0.1)


def lose(device: Device) -> None:
    """The network is gone, without a word of MQTT, and comes back."""
    before = device.stream
    device.client.socket().shutdown(socket.SHUT_RDWR)
    back = lambda: device.stream != before and device.client.is_connected()  # noqa: E731
    soon(back, "it is back, with another stream")


@pytest.mark.parametrize("version", [4, 5], ids=["MQTT 3.1.1", "MQTT 5"])
@pytest.mark.parametrize("role", [roles.MQTT, roles.MQTT_VIEWER])
def test_a_device_that_can_only_publish_counts(
    here: Installation, versions: list[int], version: int, role: str
) -> None:
    if version not in versions:
        pytest.skip("this RabbitMQ does not support MQTT 5")
    with playing(here, VIEWER, version, role) as device, here.client(roles.BACKEND) as backend:
        soon(lambda: device.stream in backend.status(VIEWER).streams, "it counts")
        shown = backend.status(VIEWER).streams[device.stream]
        assert (shown["admitted"], shown["metadata"]) == (True, {"device": device.name})

        def later() -> bool:
            # Log time is as coarse as a tick.
            device.heartbeat()
            return backend.status(VIEWER).streams[device.stream]["last_seen"] > shown["last_seen"]

        soon(later, "its heartbeats count")
        device.stop()
        soon(lambda: device.stream not in backend.status(VIEWER).streams, "its stop counts")


def test_the_last_will_of_a_lost_device_stops_its_stream(here: Installation) -> None:
    account = f"will-{secrets.token_hex(4)}"
    with playing(here, account) as device, here.client(roles.BACKEND) as backend:
        first = device.stream
        soon(lambda: count(here, account) == 1, "it counts")
        lose(device)
        # The TTL is 30 s: it did not expire.

        def state() -> str:
            return backend.status(account, stream=first, consistency="strong")["state"]

        soon(lambda: state() == "stopped", "its will has stopped it")
        soon(lambda: count(here, account) == 1, "the next one counts")
        assert device.stream != first
        device.stop()
        soon(lambda: count(here, account) == 0, "and stops")


def test_a_device_that_disconnects_cleanly_publishes_no_will(here: Installation) -> None:
    account = f"ordered-{secrets.token_hex(4)}"
    with playing(here, account) as device:
        soon(lambda: count(here, account) == 1, "it counts")
        device.client.disconnect()
        device.client.loop_stop()
        with playing(here, account):
            soon(lambda: count(here, account) == 2, "both count")


@pytest.mark.parametrize("account", ["a.b", "a/b", "é+#*%", "alice@example.com"])
def test_an_account_is_percent_encoded_in_its_topic(here: Installation, account: str) -> None:
    account = f"{account}-{secrets.token_hex(4)}"
    with playing(here, account) as device:
        soon(lambda: count(here, account) == 1, "it counts")
        device.stop()


def test_a_retained_message_counts_once(here: Installation) -> None:
    account, stream = f"retained-{secrets.token_hex(4)}", new_stream_id()
    body = json.dumps({"account": account, "stream": stream})
    with connected(here, roles.MQTT, 4) as (client, heard):
        client.publish(f"{TENANT}/heartbeat/{account}", body, qos=1, retain=True)
        assert answer(heard)[0] == "puback"
        soon(lambda: count(here, account) == 1, "it counts")
    with here.client(roles.BACKEND) as backend:
        backend.stop(account, stream)
        with playing(here, account) as device:
            soon(lambda: count(here, account) == 1, "another one counts")
            assert list(backend.status(account).streams) == [device.stream]
            device.stop()


def test_a_body_that_names_another_account_is_refused(here: Installation) -> None:
    before = here.site.bad_input()["account_mismatch"]
    theirs = json.dumps({"account": OTHER_ACCOUNT, "stream": new_stream_id()})
    with connected(here, roles.MQTT_VIEWER, 4) as (client, heard):
        for kind in roles.KINDS:
            client.publish(f"{TENANT}/{kind}/{VIEWER}", theirs, qos=1)
            assert answer(heard)[0] == "puback"
    soon(
        lambda: here.site.bad_input()["account_mismatch"] == before + 4, "all four are refused"
    )
    assert count(here, OTHER_ACCOUNT) == 0


def test_a_body_that_is_too_large_is_refused(here: Installation) -> None:
    before = here.site.bad_input()["too_large"]
    body = json.dumps({"account": VIEWER, "stream": new_stream_id(), "more": "x" * 17_000})
    with connected(here, roles.MQTT, 4) as (client, heard):
        client.publish(f"{TENANT}/heartbeat/{VIEWER}", body, qos=1)
        assert answer(heard)[0] == "puback"
    soon(lambda: here.site.bad_input()["too_large"] == before + 1, "it is refused")


FORBIDDEN = [
    f"{OTHER_TENANT}/heartbeat/{VIEWER}",
    f"{TENANT}/opened/{VIEWER}",
    f"{TENANT}/replies/{VIEWER}/tv",
    f"{TENANT}/heartbeat/a.b",
    f"{TENANT}/heartbeat/a/b",
    f"{TENANT}/heartbeat/{'x' * 300}",
    f"{TENANT}/heartbeat/é",
    "weather",
]


@pytest.mark.parametrize("topic", FORBIDDEN, ids=lambda topic: topic[:24])
def test_a_publish_without_permission_is_not_routed(
    here: Installation, versions: list[int], topic: str
) -> None:
    account, before = f"forbidden-{secrets.token_hex(4)}", refusals(here)
    body = json.dumps({"account": account, "stream": new_stream_id()})
    for version in versions:
        with connected(here, roles.MQTT, version) as (client, heard):
            client.publish(topic, body, qos=1)
            assert refused(heard)
        # As a last will, which is published after the connection.
        with playing(here, VIEWER, version) as device:

            def with_another_will(client: mqtt.Client, data: object, device=device) -> None:
                device.begin_anew(client, data)
                client.will_set(topic, body, qos=1)

            device.client.on_pre_connect = with_another_will
            lose(device)
            lose(device)
    assert (count(here, account), count(here, account, OTHER_TENANT)) == (0, 0)
    assert refusals(here) == before


def test_a_viewer_s_device_publishes_for_one_account(here: Installation) -> None:
    for topic in [f"{TENANT}/heartbeat/{OTHER_ACCOUNT}", f"{TENANT}/heartbeat"]:
        with connected(here, roles.MQTT_VIEWER, 4) as (client, heard):
            client.publish(topic, "{}", qos=1)
            assert refused(heard)


def test_a_device_receives_no_messages_of_others(here: Installation, versions: list[int]) -> None:
    topics = ["#", f"{TENANT}/#", f"{TENANT}/+/{VIEWER}", f"{TENANT}/replies/#"]
    topics += [f"{TENANT}/replies/{VIEWER}/+", f"{OTHER_TENANT}/replies/{VIEWER}/tv"]
    for version in versions:
        for topic in topics:
            with connected(here, roles.MQTT, version) as (client, heard):
                client.subscribe(topic, qos=1)
                assert refused(heard), topic
        # Nor in the queue of another tenant's client.
        other = f"{OTHER_TENANT}.{VIEWER}."
        with connected(here, roles.MQTT, version, other) as (client, heard):
            client.subscribe(f"{TENANT}/replies/{VIEWER}/tv", qos=1)
            assert refused(heard)


def test_mqtt_messages_are_accepted_only_if_that_was_declared(here: Installation) -> None:
    account = f"let-in-{secrets.token_hex(4)}"
    declare = ["topology", "declare"]
    assert here.cli("operator", *declare)["mqtt"] is True
    assert here.cli("operator", *declare, "--mqtt=false")["mqtt"] is False
    assert here.cli("operator", *declare)["mqtt"] is False
    topic = f"{TENANT}/heartbeat/{account}"
    body = json.dumps({"account": account, "stream": new_stream_id()})
    try:
        with connected(here, roles.MQTT, 4) as (client, heard):
            client.publish(topic, body, qos=1)
            assert answer(heard)[0] == "puback"
        assert count(here, account) == 0
    finally:
        for _ in range(2):
            assert here.cli("operator", *declare, "--mqtt")["mqtt"] is True
    with connected(here, roles.MQTT, 4) as (client, _):
        client.publish(topic, body, qos=1)
        soon(lambda: count(here, account) == 1, "it is let in again")


def test_an_rpc_over_mqtt_5_is_answered(here: Installation, mqtt5: None) -> None:
    account = f"asks-{secrets.token_hex(4)}"
    with playing(here, account, 5) as tv, playing(here, account, 5) as phone:
        for device in [tv, phone]:
            opened = device.ask("init", max_active=2)
            assert opened and opened["type"] == "opened" and opened["stream"] == device.stream
        soon(lambda: count(here, account) == 2, "both count")
        status = phone.ask("status", group_by=["device"], consistency="strong")
        assert status and status["state"] == "active"
        assert status["activity"]["by"]["device"] == {tv.name: 1, phone.name: 1}
        with playing(here, account, 5) as third:
            # It has announced itself by an init without a limit, and counts; so it is refused none.
            fresh = new_stream_id()
            refusal = third.ask("init", stream=fresh, max_active=2)
            assert refusal and (refusal["type"], refusal["reason"]) == ("refused", "max_active")
            third.stop()
        problem = phone.ask("init", max_active=0)
        assert problem and problem["error"]["field"] == "max_active"
        tv.stop()
        phone.stop()


def test_a_reply_over_mqtt_5_expires_and_names_the_contract(
    here: Installation, mqtt5: None
) -> None:
    overheard = f"{here.exchange}.overheard-{secrets.token_hex(4)}"
    with playing(here, VIEWER, 5) as device, here.channel("operator") as channel:
        channel.queue_declare(overheard, exclusive=True)
        key = device.reply_topic.replace("/", ".")
        channel.queue_bind(overheard, roles.MQTT_EXCHANGE, key)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = device.reply_topic
        properties.CorrelationData = b"\xff\x00 no text"
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        properties.UserProperty = [("traceparent", trace)]
        device.publish("status", properties)
        reply = device.answers.get(timeout=10)
        assert reply.topic == device.reply_topic
        assert reply.properties.CorrelationData == b"\xff\x00 no text"
        assert reply.properties.ContentType == "application/json"
        assert dict(reply.properties.UserProperty)["contract"] == "1"
        assert trace[:36] in dict(reply.properties.UserProperty)["traceparent"]
        # RabbitMQ shows a device no expiry of what came by AMQP, but keeps to it.
        heard = lambda: channel.basic_get(overheard, True)[1]  # noqa: E731
        as_amqp = eventually(heard, "the reply arrives")
        assert (as_amqp.expiration, as_amqp.type) == ("10000", "activity")
        device.stop()


def test_a_device_learns_over_mqtt_5_that_its_stream_was_ended(
    here: Installation, mqtt5: None
) -> None:
    account = f"ended-{secrets.token_hex(4)}"
    with playing(here, account, 5) as device, here.client(roles.BACKEND) as backend:
        soon(lambda: count(here, account) == 1, "it counts")
        assert device.ask("heartbeat", within=0.5) is None
        backend.stop(account, device.stream)
        told = device.ask("heartbeat")
        assert told == {"type": "stopped", "stream": device.stream, "reason": "stopped"}
        device.stop()


WRONG_TOPICS = [
    f"{OTHER_TENANT}/replies/{VIEWER}/tv",
    f"{TENANT}/heartbeat/{VIEWER}",
    f"{TENANT}/stop/{VIEWER}",
    f"{TENANT}/replies/{OTHER_ACCOUNT}/tv",
    f"{TENANT}/replies/{VIEWER}",
    f"{TENANT}/replies/{VIEWER}/t v",
    f"{TENANT}/replies/{VIEWER}/{'x' * 300}",
    "streamwatch/lifecycle",
]


@pytest.mark.parametrize("kind", ["init", "status"])
def test_no_worker_publishes_where_a_device_may_not_listen(
    here: Installation, mqtt5: None, kind: str
) -> None:
    before = here.site.bad_input()["bad_field"]
    queue_name = f"{here.exchange}.overheard-{secrets.token_hex(4)}"
    with playing(here, VIEWER, 5) as device, here.channel("operator") as channel:
        channel.queue_declare(queue_name, exclusive=True)
        for tenant in [TENANT, OTHER_TENANT, "streamwatch"]:
            channel.queue_bind(queue_name, roles.MQTT_EXCHANGE, f"{tenant}.replies.#")
            channel.queue_bind(queue_name, roles.MQTT_EXCHANGE, f"{tenant}.lifecycle")
        asked = {"stream": new_stream_id()}
        for topic in WRONG_TOPICS:
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = topic
            properties.CorrelationData = b"1"
            device.publish(kind, properties, **asked)
        properties.ResponseTopic = device.reply_topic
        properties.CorrelationData = b"x" * 256
        device.publish(kind, properties, **asked)
        refused_all = before + len(WRONG_TOPICS) + 1
        soon(lambda: here.site.bad_input()["bad_field"] == refused_all, "all are refused")
        assert channel.queue_declare(queue_name, passive=True).method.message_count == 0
        # None of them was executed, as its sender could not have received the reply.
        assert device.ask("status", **asked)["state"] == "unknown"
        device.stop()


def test_no_player_has_a_worker_answer_by_mqtt(here: Installation) -> None:
    """The header that carries a response topic is believed of MQTT alone."""
    body = {"account": VIEWER, "stream": new_stream_id(), "consistency": "strong"}
    queue_name = f"{here.exchange}.overheard-{secrets.token_hex(4)}"
    with here.client(roles.PLAYER) as player, here.channel("operator") as channel:
        channel.queue_declare(queue_name, exclusive=True)
        channel.queue_bind(queue_name, roles.MQTT_EXCHANGE, "#")
        answered = "streamwatch_requests_total"
        before = sum(here.site.metric(answered).values())
        refused = here.site.bad_input()["bad_field"]
        for account in [{"account": VIEWER}, {}]:
            headers = {"x-reply-to-topic": f"{TENANT}.replies.{VIEWER}.x", **account}
            player.publish("status", body, headers=headers, reply_to=None)
            address = f"/exchanges/{roles.MQTT_EXCHANGE}/{TENANT}.replies.{VIEWER}.x"
            player.publish("status", body, headers=account, reply_to=address)
        soon(lambda: sum(here.site.metric(answered).values()) >= before + 2, "two are answered")
        # An address of an exchange is no queue.
        now_refused = lambda: here.site.bad_input()["bad_field"]  # noqa: E731
        soon(lambda: now_refused() == refused + 2, "two are refused")
        assert channel.queue_declare(queue_name, passive=True).method.message_count == 0


def test_no_player_has_a_worker_answer_by_mqtt_through_the_shared_queue(
    here: Installation, mqtt5: None
) -> None:
    """RabbitMQ states the exchange of a request that has moved there, not its sender."""
    body = {"account": VIEWER, "stream": new_stream_id()}
    suffix = secrets.token_hex(4)
    overheard, moving = f"{here.exchange}.overheard-{suffix}", f"{here.exchange}.moving-{suffix}"
    with here.client(roles.PLAYER) as player, here.channel("operator") as channel:
        channel.queue_declare(overheard, exclusive=True)
        channel.queue_bind(overheard, roles.MQTT_EXCHANGE, "#")
        # Half of the requests move: these queues have no consumer.
        for partition in range(here.partitions):
            local, queue = f"{here.exchange}.p{partition:02}.status", f"{moving}-{partition}"
            arguments = {"x-message-ttl": 0, "x-dead-letter-exchange": f"{local}.shared"}
            channel.queue_declare(queue, exclusive=True, arguments=arguments)
            channel.queue_bind(queue, local, "")
        answered = "streamwatch_requests_total"
        before = sum(here.site.metric(answered).values())
        for _ in range(40):
            headers = {
                "account": VIEWER,
                "x-reply-to-topic": f"{TENANT}.replies.{VIEWER}.x",
                "x-last-death-exchange": roles.MQTT_EXCHANGE,
                "x-first-death-exchange": roles.MQTT_EXCHANGE,
            }
            player.publish("status", body, headers=headers, reply_to=None)
        soon(lambda: sum(here.site.metric(answered).values()) >= before + 40, "all are answered")
        assert channel.queue_declare(overheard, passive=True).method.message_count == 0


def test_dead_letters_of_a_device_s_queue_are_not_counted(
    here: Installation, mqtt5: None
) -> None:
    """By AMQP a device may have RabbitMQ publish a worker's reply again, under any key."""
    account, stream = f"dead-{secrets.token_hex(4)}", new_stream_id()
    with here.client(f"{OTHER_TENANT}.player", OTHER_TENANT) as victim:
        victim.init(account, stream)
        before = here.site.bad_input()
        with playing(here, account, 5) as device, here.channel(roles.MQTT) as channel:
            for kind in roles.KINDS:
                queue_name = f"mqtt-subscription-{TENANT}.{kind}.{secrets.token_hex(4)}qos1"
                arguments = {
                    "x-dead-letter-exchange": roles.MQTT_EXCHANGE,
                    "x-dead-letter-routing-key": f"{OTHER_TENANT}.{kind}.{in_topic(account)}",
                    "x-message-ttl": 1,
                }
                channel.queue_declare(queue_name, exclusive=True, arguments=arguments)
                key = device.reply_topic.replace("/", ".")
                channel.queue_bind(queue_name, roles.MQTT_EXCHANGE, key)
            assert device.ask("status", stream=stream)
            refused_now = lambda: here.site.bad_input() - before  # noqa: E731
            soon(lambda: refused_now()["missing_field"] >= 2, "what arrives is refused")
            assert set(refused_now()) == {"missing_field"}
            device.stop()
        assert list(victim.status(account, consistency="strong").streams) == [stream]
        victim.stop(account, stream)


def test_a_user_property_picks_the_partition(here: Installation, mqtt5: None) -> None:
    """With MQTT 5 a device can set the header `account`, and spare the worker the detour."""
    account = f"property-{secrets.token_hex(4)}"
    forwarded = lambda: sum(here.site.metric("streamwatch_intake_total").values())  # noqa: E731
    with playing(here, account, 5) as device, here.client(roles.BACKEND) as backend:
        soon(lambda: count(here, account) == 1, "it counts, by way of the intake")
        before = forwarded()
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = [("account", account)]
        body = {"stream": new_stream_id()}
        device.publish("heartbeat", properties, **body).wait_for_publish(10)
        assert backend.status(account, consistency="strong").count == 2
        assert forwarded() == before
        device.stop()


def test_requests_of_a_stopped_worker_are_answered_by_another(here: Installation, mqtt5: None) -> None:
    with playing(here, VIEWER, 5) as device:
        [old] = here.site.workers
        here.site.start_workers(1)
        asked = {f"question {n}".encode() for n in range(200)}
        for n, question in enumerate(sorted(asked)):
            if n == 100:
                old.process.terminate()
            properties = Properties(PacketTypes.PUBLISH)
            properties.ResponseTopic = device.reply_topic
            properties.CorrelationData = question
            device.publish("status", properties)
        assert old.wait_end() == 0
        here.site.workers.remove(old)
        answered = set()
        while answered != asked:
            reply = device.answers.get(timeout=10)
            assert json.loads(reply.payload)["type"] == "activity"
            answered.add(reply.properties.CorrelationData)
        device.stop()
    leaders = lambda: sum(here.site.metric("streamwatch_leader").values())  # noqa: E731
    eventually(lambda: leaders() == here.partitions, "the other one leads all", within=30)
