"""Workers behave as each example of the contract, `deploy/asyncapi.yaml`."""

from __future__ import annotations

import copy
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import pytest

import contract
from contract import MESSAGES, SCHEMAS, examples
from processes import Site, eventually
from streamwatch_client import Reply, StreamwatchClient, new_stream_id
from test_lifecycle import Follower

# One stream for each account, so that the second finds it full.
SITE = {"ttl": 4.0, "heartbeat_every": 1.0, "max_streams_per_account": 1}

KINDS = ["init", "heartbeat", "stop", "status"]


def named(*messages: str) -> list[Any]:
    """Every example of these messages, as parameters of a test."""
    return [pytest.param(m, name, id=f"{m}-{name}") for m in messages for name in examples(m)]


@pytest.fixture
def tenant() -> str:
    """A tenant of this test alone, as all examples use one account."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def player(site: Site, tenant: str) -> Iterator[StreamwatchClient]:
    site.wait_for_leader()
    with site.client(tenant) as client:
        yield client
    site.assert_workers_run()


@pytest.fixture(scope="module")
def spare(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another topology, for what would disturb the other tests."""
    site = Site(broker_url, tmp_path_factory.mktemp("spare"), ttl=2.0, heartbeat_every=0.5)
    try:
        site.start_workers(1)
        site.wait_for_leader()
        yield site
    finally:
        site.close()


# The document


@pytest.mark.parametrize(("message", "name"), named(*MESSAGES))
def test_every_example_matches_its_schema(message: str, name: str) -> None:
    example = examples(message)[name]
    assert contract.problems(message, "payload", example["payload"]) == []
    if "headers" in example:
        assert contract.problems(message, "headers", example["headers"]) == []


def test_every_error_code_has_an_example_and_a_message_that_provokes_it() -> None:
    codes = SCHEMAS["ErrorCode"]["enum"]
    assert list(examples("error")) == list(MESSAGES["error"]["x-provoked-by"]) == codes


# Messages of clients


@pytest.mark.parametrize("form", ["short key", "account in the key"])
@pytest.mark.parametrize(("kind", "name"), named(*KINDS))
def test_every_example_of_a_message_is_accepted_and_answered(
    player: StreamwatchClient, kind: str, name: str, form: str
) -> None:
    example = examples(kind)[name]
    body = example["payload"]
    account, stream = body["account"], body.get("stream")
    if kind == "stop":
        stream = player.init(account, stream)["stream"]

    options = properties_of(example["headers"])
    if form == "account in the key":
        options["account_in_key"] = account
    # A reply is expected only if the example has `reply_to`.
    correlation_id = player.publish(kind, body, want_reply=False, **options)
    contract.sent[kind] += 1

    if kind in ("init", "status"):
        reply = player.wait_for(correlation_id)
        assert reply.type in contract.replies_of(kind) - {"error"}
        assert ("by" in reply.activity) == ("group_by" in body)
        asked, answered = options["headers"], reply.properties.headers
        assert ("traceparent" in answered) == ("traceparent" in asked)
    if kind in ("heartbeat", "stop"):
        reply = player.status(account, stream=stream, consistency="strong")
        assert reply["state"] == ("active" if kind == "heartbeat" else "stopped")
    if kind in ("init", "heartbeat"):
        now = player.status(account, consistency="strong").streams
        (record,) = now.values()
        assert record["metadata"] == shown(body.get("metadata", {}))
        assert stream in (None, record["stream"])
    if kind == "heartbeat":
        player.stop(account, stream)
        news = player.request(kind, body)
        assert news.type in contract.replies_of(kind) - {"error"}


@pytest.mark.parametrize("name", examples("batch"))
def test_every_example_of_a_batch_is_accepted(player: StreamwatchClient, name: str) -> None:
    example = examples("batch")[name]
    body = example["payload"]
    player.publish("batch", body, want_reply=False, **properties_of(example["headers"]))
    contract.sent["batch"] += 1
    stops = [event for event in body["events"] if event["kind"] == "stop"]
    beats = [event for event in body["events"] if event["kind"] == "heartbeat"]
    whole = {event["account"] for event in stops if event.get("all")}
    ends = {event.get("stream") for event in stops}
    ends |= {event["stream"] for event in beats if event["account"] in whole}
    for event in beats:
        account, stream = event["account"], event["stream"]
        state = player.status(account, stream=stream, consistency="strong")["state"]
        assert state == ("stopped" if stream in ends else "active")


def shown(metadata: dict[str, Any]) -> dict[str, str]:
    """Metadata as replies show it: numbers and booleans as their JSON text."""
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    return {key: value for key, value in text.items() if metadata[key] is not None}


def properties_of(headers: dict[str, Any]) -> dict[str, Any]:
    """The headers of an example, as AMQP has them: some are properties."""
    known = SCHEMAS["RequestHeaders"]["properties"]
    properties = {k: v for k, v in headers.items() if known[k]["x-amqp"] == "property"}
    return properties | {"headers": {k: headers[k] for k in headers.keys() - properties.keys()}}


# Replies of workers: each example is provoked


def as_the_example(name: str, message: str, body: dict[str, Any]) -> None:
    assert shape(body) == shape(examples(message)[name]["payload"])


# Fields whose value, not only its type, is what the example shows.
TELLING = {"type", "reason", "given_reason", "state", "admitted", "count", "max_active"} | {
    "limit",
    "remembered",
    "source",
    "code",
    "field",
}


def shape(value: Any, name: str = "") -> Any:
    """The body without values that differ in each run."""
    if isinstance(value, dict):
        if name in ("metadata", "by"):
            return bool(value)  # what stands there is the player's
        return {key: shape(value[key], key) for key in sorted(value)}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return value if name in TELLING else type(value).__name__


TV = {"device": "tv"}


def opened(player: StreamwatchClient, **fields: Any) -> Reply:
    return player.request("init", {"account": "alice", "metadata": TV} | fields)


def ask(player: StreamwatchClient, **fields: Any) -> Reply:
    return player.request("status", {"account": "alice", "consistency": "strong"} | fields)


def a_second(player: StreamwatchClient, **fields: Any) -> Reply:
    opened(player)
    return player.request("init", {"account": "alice"} | fields)


def a_stopped_one(player: StreamwatchClient) -> str:
    stream = opened(player)["stream"]
    player.stop("alice", stream)
    return stream


def begun_by_a_heartbeat(player: StreamwatchClient) -> Reply:
    player.heartbeat("alice", new_stream_id())
    return ask(player)


def opened_after_its_stop(player: StreamwatchClient) -> Reply:
    stream = new_stream_id()
    player.stop("alice", stream)
    return player.init("alice", stream)


def expired(player: StreamwatchClient) -> Reply:
    stream = opened(player)["stream"]
    eventually(lambda: ask(player).count == 0, "the stream expires", every=0.1)
    return ask(player, stream=stream)


def in_its_place(player: StreamwatchClient) -> Reply:
    opened(player)
    return opened(player, same=["device"])


def beyond_limits(player: StreamwatchClient) -> Reply:
    opened(player)
    return player.init("alice", limits=[{"max": 2}, {"max": 1, "distinct": "device"}])


def remembered(player: StreamwatchClient) -> Reply:
    first = opened(player)["stream"]
    second = {"account": "alice", "stream": new_stream_id(), "max_active": 1}
    player.request("init", second, message_id="again")
    player.stop("alice", first)
    return player.request("init", second, message_id="again")


def news_of_a_reason(player: StreamwatchClient) -> Reply:
    stream = opened(player)["stream"]
    player.stop_all("alice", reason="account closed")
    return player.request("heartbeat", {"account": "alice", "stream": stream})


def news_of_a_stop(player: StreamwatchClient) -> Reply:
    body = {"account": "alice", "stream": a_stopped_one(player)}
    return player.request("heartbeat", body)


def news_of_a_replacement(player: StreamwatchClient) -> Reply:
    stream = opened(player)["stream"]
    opened(player, replace=[stream])
    return player.request("heartbeat", {"account": "alice", "stream": stream})


def outdated(player: StreamwatchClient) -> Reply:
    body = {"account": "alice", "stream": opened(player)["stream"], "heartbeat_every_ms": 900}
    return player.request("heartbeat", body)


def bad_news_of_a_batch(player: StreamwatchClient) -> Reply:
    stream = a_stopped_one(player)
    event = {"kind": "heartbeat", "account": "alice"}
    other = event | {"stream": new_stream_id(), "heartbeat_every_ms": 7}
    return player.wait_for(player.batch(0, [event | {"stream": stream}, event, other]))


SCENARIOS: dict[tuple[str, str], Callable[[StreamwatchClient], Reply]] = {
    ("opened", "opened"): opened,
    ("opened", "opened-with-counts"): lambda p: opened(p, group_by=["device"]),
    ("opened", "opened-in-its-place"): in_its_place,
    ("refused", "max_active"): lambda p: a_second(p, max_active=1),
    ("refused", "limits"): beyond_limits,
    ("refused", "remembered"): remembered,
    ("refused", "account_cap"): a_second,
    ("refused", "stopped"): opened_after_its_stop,
    ("activity", "nothing-plays"): ask,
    ("activity", "one-plays"): lambda p: (opened(p), ask(p))[1],
    ("activity", "with-counts"): lambda p: (opened(p), ask(p, group_by=["device"]))[1],
    ("activity", "begun-by-a-heartbeat"): begun_by_a_heartbeat,
    ("activity", "active"): lambda p: ask(p, stream=opened(p)["stream"]),
    ("activity", "stopped"): lambda p: ask(p, stream=a_stopped_one(p)),
    ("activity", "expired"): expired,
    ("activity", "unknown"): lambda p: ask(p, stream=new_stream_id()),
    ("stopped", "stopped"): news_of_a_stop,
    ("stopped", "replaced"): news_of_a_replacement,
    ("stopped", "for-a-reason"): news_of_a_reason,
    ("interval", "interval"): outdated,
    ("batchReply", "bad-news"): bad_news_of_a_batch,
}
ELSEWHERE = {("refused", "over_capacity"), ("error", "late"), ("error", "unavailable")} | {
    ("error", "undecodable"),
    ("error", "undeliverable"),
    ("error", "old_rules"),
    ("error", "throttled"),
    ("stopped", "too_old"),
    ("accountsReply", "a-page"),
    ("accountsReply", "no-accounts"),
    ("totalsReply", "by-channel"),
    ("totalsReply", "nothing-counted"),
}


@pytest.mark.parametrize(("message", "name"), SCENARIOS)
def test_a_worker_replies_as_the_example_shows(
    player: StreamwatchClient, message: str, name: str
) -> None:
    as_the_example(name, message, SCENARIOS[message, name](player).body)


def test_no_example_of_a_reply_is_left_out() -> None:
    names = contract.SPOKEN["replies"].values()
    shown = {(message, name) for message in names for name in examples(message)}
    provoked = {("error", code) for code in MESSAGES["error"]["x-provoked-by"]}
    assert shown == SCENARIOS.keys() | provoked | ELSEWHERE


@pytest.mark.parametrize(("kind", "name"), named("accounts", "totals"))
def test_every_example_of_a_request_about_a_tenant_is_answered(
    player: StreamwatchClient, kind: str, name: str
) -> None:
    example = examples(kind)[name]
    correlation_id = player.publish(kind, example["payload"], **properties_of(example["headers"]))
    contract.sent[kind] += 1
    reply = player.wait_for(correlation_id)
    assert reply.type == kind
    assert f"{kind}Reply" in contract.replies_of(kind)


def test_workers_reply_about_a_tenant_as_the_examples_show(spare: Site, tenant: str) -> None:
    def request(kind: str, **fields: Any) -> Reply:
        return client.request(kind, fields)

    def counted() -> Reply | None:
        reply = request("totals", group_by=["channel"])
        return reply if "by" in reply.body else None

    with spare.client(tenant) as client:
        as_the_example("no-accounts", "accountsReply", request("accounts").body)
        as_the_example("nothing-counted", "totalsReply", request("totals").body)
        for account in ("alice", "bob", "carol"):
            for _ in range(3):
                client.init(account, metadata={"channel": "news"})
        page = request("accounts", min_active=3, limit=2)
        as_the_example("a-page", "accountsReply", page.body)
        assert page["next"] == "bob"
        spare.run("topology", "set", "--count-by", "channel")
        try:
            totals = eventually(counted, "streams are counted by channel", every=0.1)
        finally:
            spare.run("topology", "set", "--count-by", "")
        as_the_example("by-channel", "totalsReply", totals.body)
        assert totals["by"] == {"channel": {"news": 9}}


def test_a_full_partition_refuses_as_the_example_shows(spare: Site, account: str) -> None:
    spare.run("topology", "set", "--max-streams-per-partition", "1")
    try:
        with spare.client() as client:
            client.heartbeat(account, new_stream_id(), want_bad_news=False)

            def refused() -> Reply | None:
                # Keeps the first stream active, and uses a new account next.
                client.heartbeat(account, new_stream_id(), want_bad_news=False)
                reply = client.init(f"{account}-{secrets.token_hex(4)}")
                return reply if reply.type == "refused" else None

            reply = eventually(refused, "the partition is full", every=0.1)
            as_the_example("over_capacity", "refused", reply.body)
    finally:
        spare.run("topology", "set", "--max-streams-per-partition", "5000000")


def test_a_stream_that_is_too_old_ends_as_the_examples_show(spare: Site, account: str) -> None:
    spare.run("topology", "set", "--max-stream-age", "1s")
    follower = Follower(spare, "lifecycle", "acme.expired")
    try:
        with spare.client() as client, closing(follower.connection):
            stream = client.init(account, metadata=TV)["stream"]
            body = {"account": account, "stream": stream}

            def ended() -> Reply | None:
                client.publish("heartbeat", body)
                return client.bad_news(timeout=0.1)

            reply = eventually(ended, "the stream is too old", every=0.1)
            as_the_example("too_old", "stopped", reply.body)
            (event,) = follower.wait_for(account, 1)
            as_the_example("too_old", "streamExpired", event)
            assert client.status(account, stream=stream)["state"] == "stopped"
    finally:
        spare.run("topology", "set", "--max-stream-age", "0s")


# Errors, each really provoked


def provoke(client: StreamwatchClient, code: str) -> str:
    """Sends the message of `x-provoked-by`, and returns its correlation id."""
    by = MESSAGES["error"]["x-provoked-by"][code]
    body = by["text"] if "text" in by else json.dumps(by["payload"])
    body = body.ljust(by.get("paddedTo", 0))
    return client.publish("", body.encode(), routing_key=by["routingKey"])


def assert_is_the_example(reply: Reply, code: str) -> None:
    """Word for word: the message is for people, and the example is what they read."""
    contract.sent["error"] += 1
    assert reply.body == examples("error")[code]["payload"]


@pytest.mark.parametrize(
    "code", [code for code in examples("error") if ("error", code) not in ELSEWHERE]
)
def test_a_bad_message_is_answered_by_the_error_that_the_example_shows(
    site: Site, client: StreamwatchClient, code: str
) -> None:
    site.wait_for_leader()
    assert_is_the_example(client.wait_for(provoke(client, code)), code)


def test_part_of_the_topology_missing_is_unavailable_as_the_example_shows(spare: Site) -> None:
    partition = f"{spare.namespace}streamwatch.p00"
    way = {"queue": f"{partition}.init", "exchange": partition, "routing_key": "*.init.#"}
    with spare.client() as client:
        client.channel.queue_unbind(**way)
        try:
            reply = client.wait_for(provoke(client, "unavailable"))
        finally:
            client.channel.queue_bind(**way)
        assert_is_the_example(reply, "unavailable")
        assert client.init("alice").type == "opened"


def test_fields_of_newer_rules_are_rejected_as_the_example_shows(
    broker_url: str, tmp_path: Path
) -> None:
    old = Site(broker_url, tmp_path, ttl=2.0, heartbeat_every=0.5, rules=1)
    try:
        old.start_workers(1)
        old.wait_for_leader()
        with old.client() as client:
            follower = Follower(old, "rejected", "acme.old_rules")
            with closing(follower.connection):
                reply = client.wait_for(provoke(client, "old_rules"))
                assert_is_the_example(reply, "old_rules")
                eventually(lambda: follower.take() or follower.heard, "the rejection is published")
                ((_, _, rejected),) = follower.heard
                assert (rejected["source"], rejected["field"]) == ("init", reply["error"]["field"])
            stream = client.init("alice", max_active=1)["stream"]
            for kind, body in {
                "stop": {"account": "alice", "all": True},
                "heartbeat": {"account": "alice", "stream": stream, "metadata": {"bitrate": 1}},
            }.items():
                assert client.request(kind, body)["error"]["code"] == "old_rules"
            assert client.status("alice", consistency="strong").count == 1
            old.run("topology", "set", "--rules", "2")
            eventually(
                lambda: client.init("alice", limits=[{"max": 1}]).type == "refused",
                "the new rules are in force",
            )
            client.stop_all("alice")
            assert client.status("alice", consistency="strong").count == 0
    finally:
        old.close()


def test_requests_beyond_a_limit_are_throttled_as_the_example_shows(
    broker_url: str, tmp_path: Path
) -> None:
    limited = Site(broker_url, tmp_path, ttl=30.0, heartbeat_every=10.0)
    try:
        limited.run("topology", "set", "--account-statuses-per-second", "1")
        limited.start_workers(1)
        limited.wait_for_leader()
        with limited.client(confirms=False) as client:
            asked = [provoke(client, "throttled") for _ in range(30)]
            replies = [client.wait_for(one) for one in asked[:15]]
            throttled = [reply for reply in replies if reply.type == "error"]
            throttled[0].body["error"]["retry_after_ms"] = 20
            assert_is_the_example(throttled[0], "throttled")
    finally:
        limited.close()


def test_a_request_that_log_time_overtakes_is_late_as_the_example_shows(spare: Site) -> None:
    """Advances log time with written entries, for which clients have no permission."""
    with spare.client(confirms=False) as hurry, spare.client(confirms=False) as client:

        def late() -> bool:
            # Before it is taken up, so that many are under way then, and until it is decided.
            tick_often(spare, hurry)
            asked = provoke(client, "late")
            tick_often(spare, hurry)
            reply = client.wait_for(asked)
            if reply.type == "opened":
                return False
            assert_is_the_example(reply, "late")
            return True

        eventually(late, "log time overtakes a request", within=30)


def tick_often(site: Site, client: StreamwatchClient) -> None:
    """Writes ticks of a worker whose clock is far ahead: each moves log time by two intervals."""
    clock = {"estimate_ms": 2**53, "candidate_from": 0, "leads": True}
    clock["wall_ms"] = int(time.time() * 1000)
    writer = secrets.randbits(63)
    for seq in range(2_000):
        tick = {"writer": writer, "seq": seq, "clock": clock, "entry": {"tick": {}}}
        client.channel.basic_publish(
            "", f"{site.namespace}streamwatch.p00.log", json.dumps(tick).encode()
        )


# Lifecycle events


def lifecycle(player: StreamwatchClient, what: str) -> None:
    """Provokes one lifecycle event; others may be published on the way."""
    if what == "streamRefused-max_active":
        a_second(player, max_active=1, metadata={"device": "phone"})
    elif what == "streamRefused-stopped":
        opened_after_its_stop(player)
    elif what == "streamStopped-stopped":
        a_stopped_one(player)
    elif what == "streamStopped-replaced":
        opened(player, replace=[opened(player)["stream"]])
    elif what == "streamStopped-for-a-reason":
        opened(player)
        player.stop_all("alice", reason="account closed")
    elif what == "streamAdmitted-admitted":
        stream = new_stream_id()
        player.heartbeat("alice", stream, metadata=TV)
        player.init("alice", stream)
    elif what == "streamOpened-by-a-heartbeat":
        begun_by_a_heartbeat(player)
    else:
        assert what in ("streamOpened-admitted", "streamExpired-expired")
        opened(player)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        it
        for it in named(*contract.SPOKEN["lifecycle"].values())
        if it.id != "streamExpired-too_old"  # see above
    ],
)
def test_a_lifecycle_event_matches_the_example(
    site: Site, player: StreamwatchClient, tenant: str, message: str, name: str
) -> None:
    example = examples(message)[name]["payload"]
    follower = Follower(site, "lifecycle", f"{tenant}.{example['type']}")
    with closing(follower.connection):
        lifecycle(player, f"{message}-{name}")
        (event,) = follower.wait_for("alice", 1)
        as_the_example(name, message, event)


@pytest.mark.parametrize("name", examples("rejected"))
def test_a_rejected_message_matches_the_example(
    site: Site, player: StreamwatchClient, tenant: str, name: str
) -> None:
    example = examples("rejected")[name]["payload"]
    follower = Follower(site, "rejected", f"{tenant}.{example['code']}")
    with closing(follower.connection):
        if "index" in example:
            player.batch(0, [{"kind": "stop", "account": "alice"}])
        elif example["source"] == "log":
            player.request("heartbeat", {"account": "alice"})
        else:
            user = pika.URLParameters(site.url).credentials.username
            player.request("init", b"{", app_id=example["app_id"], user_id=user)
        eventually(lambda: follower.take() or follower.heard, "the rejection is published")
        as_the_example(name, "rejected", follower.heard[0][2])


# The comparison finds differences


def drifted(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same body with one field less, one more, or one of another type, at every place."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if {"metadata", "by"} & set(path):
            return  # what stands there is the player's
        if isinstance(value, dict):
            yield path
        steps = value if isinstance(value, dict) else range(len(value))
        for step in steps:
            if isinstance(value[step], dict | list):
                yield from places(value[step], (*path, step))

    for path in places(body):
        for field in ["colour", *at(body, path)]:
            changed = copy.deepcopy(body)
            here = at(changed, path)
            if field == "colour":
                here[field] = "blue"
                yield f"{path} with {field}", changed
                continue
            kept = here.pop(field)
            if field not in ("by", "max_active", "conflicts"):  # may be left out
                yield f"{path} without {field}", changed
            changed = copy.deepcopy(changed)
            at(changed, path)[field] = [kept]
            yield f"{path} with {field} of another type", changed


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("opened", "opened-with-counts"),
        ("refused", "max_active"),
        ("activity", "active"),
        ("stopped", "replaced"),
    ],
)
def test_a_reply_that_drifts_from_the_contract_is_noticed(
    player: StreamwatchClient, message: str, name: str
) -> None:
    reply = SCENARIOS[message, name](player)

    def noticed(body: dict[str, Any]) -> list[str]:
        return contract.problems_as_sent("replies", reply.properties, json.dumps(body).encode())

    assert noticed(reply.body) == []
    changes = dict(drifted(reply.body))
    assert len(changes) > 2 * len(reply.body)
    assert [change for change, body in changes.items() if not noticed(body)] == []


def test_properties_that_drift_from_the_contract_are_noticed(player: StreamwatchClient) -> None:
    reply = opened(player)
    body = json.dumps(reply.body).encode()
    for name, value in {
        "app_id": None,
        "type": "activity",
        "content_type": "text/plain",
        "reply_to": "a-queue",
        "headers": {},
    }.items():
        properties = copy.copy(reply.properties)
        setattr(properties, name, value)
        assert contract.problems_as_sent("replies", properties, body) != [], name
