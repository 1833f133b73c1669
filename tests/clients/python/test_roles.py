"""Permissions of roles: every cell of the table in `roles`, tried on a real broker.

Users, permissions and topic permissions are those that `streamwatch topology roles` prints. The
topology is declared by the operator and served by a worker that is one in RabbitMQ's eyes too.
"""

import base64
import hmac
import json
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pika
import pika.exceptions
import pytest

import roles
from installations import (
    DIRECT_REPLIES_BY_AMQP_1_0,
    PARTITIONS,
    Installation,
    Permissions,
)
from processes import BINARY, ROOT, Edge, Node, eventually
from roles import ROLES, TABLE, TENANT, VIEWER, Action, At, Row, outcome
from streamwatch_amqp10 import Amqp10Client
from streamwatch_client import new_stream_id
from streamwatch_http import Player

OAUTH = "rabbitmq_auth_backend_oauth2"
PLUGINS = f"rabbitmq_stomp,{OAUTH}"
SIGNING_KEY = secrets.token_bytes(32)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.label)
def test_each_role_has_the_permissions_of_the_table(here: Installation, row: Row) -> None:
    with here.channel("operator") as channel:
        channel.queue_declare(f"{here.exchange}.lifecycle.{roles.OTHER_TENANT}.q", exclusive=False)
    actions = [a for a in row.actions if here.partitions > 1 or a.with_one_partition]
    wrong = []
    for role in ROLES:
        for action, code in tried(here, role, row, actions):
            allowed = row.allows(role, here.version)
            if (code not in action.allowed) if allowed else code != roles.ACCESS_REFUSED:
                must = "may" if allowed else "may not"
                wrong.append(f"{role} {must} {action.name}: {code}")
    assert not wrong, "\n".join(wrong)


def tried(
    here: Installation, role: str, row: Row, actions: list[Action]
) -> Iterator[tuple[Action, int]]:
    may = row.allows(role, here.version)
    for action in actions:
        with here.channel(role) as channel:
            yield action, outcome(At(here.exchange, channel, may), action)


def test_the_handbook_has_this_table(capsys: pytest.CaptureFixture[str]) -> None:
    cells = len(TABLE) * len(ROLES)
    actions = sum(len(row.actions) for row in TABLE)
    with capsys.disabled():
        print(f"\n{cells} cells, {actions} ways for each role, with {PARTITIONS} partitions")
        print(roles.markdown())
    assert roles.markdown() in (ROOT / "deploy" / "SECURE.md").read_text()


def test_the_commands_and_the_definitions_set_equal_permissions() -> None:
    permissions = Permissions(1)
    commands = [shlex.split(line, comments=True) for line in permissions.say().splitlines()]
    commands = [words for words in commands if words]
    assert {words[0] for words in commands} == {"rabbitmqctl"}
    set_by_command = [words[4:] for words in commands if words[1] == "set_permissions"]
    assert set_by_command == [
        [it["user"], it["configure"], it["write"], it["read"]]
        for it in permissions.definitions["permissions"]
    ]
    topics = [words[4:] for words in commands if words[1] == "set_topic_permissions"]
    assert topics == [
        [it["user"], it["exchange"], it["write"], it["read"]]
        for it in permissions.definitions["topic_permissions"]
    ]
    # A user without topic permissions may publish with every routing key.
    for words in commands:
        if words[1] == "set_topic_permissions":
            user = words[4]
            of_user = [w[1] for w in commands if user in w]
            assert of_user == ["add_user", "set_topic_permissions", "set_permissions"]


@pytest.mark.parametrize("role", [roles.PLAYER, roles.STOMP, roles.BACKEND])
def test_a_tenant_s_roles_play(here: Installation, role: str) -> None:
    account, stream = f"plays-{secrets.token_hex(4)}", new_stream_id()
    opened = here.cli(role, "init", TENANT, account, "--stream", stream, "--max-active", "1")
    assert (opened["type"], opened["activity"]["count"]) == ("opened", 1)
    here.cli(role, "heartbeat", TENANT, account, stream)
    assert here.cli(role, "status", TENANT, account)["activity"]["count"] == 1
    here.cli(role, "stop", TENANT, account, stream)
    status = here.cli(role, "status", TENANT, account, "--strong")
    assert status["activity"]["count"] == 0


def test_an_edge_serves_its_tenants_with_its_own_role(
    here: Installation, tmp_path: Path
) -> None:
    tenants = [*roles.EDGE_TENANTS, roles.OTHER_TENANT]
    environment = here.site.environment(here.url(roles.EDGE))
    edge = Edge(environment, tmp_path, "web", *tenants)
    account = f"viewer-{secrets.token_hex(4)}"
    try:
        for tenant in roles.EDGE_TENANTS:
            web = "web" if tenant == TENANT else f"web-{tenant}"
            player = Player(f"http://{edge.api}", account, application=web)
            assert player.open(max_active=1)["type"] == "opened"
            # Alone, and in a batch.
            assert [player.heartbeat() for _ in range(3)] == [None] * 3
            with here.client("operator", tenant) as operator:
                assert operator.status(account, consistency="strong").count == 1
            assert player.stop()
            with here.client("operator", tenant) as operator:
                assert operator.status(account, consistency="strong").count == 0
        # It may not publish for a tenant that its role lacks, so it cannot answer.
        other = Player(f"http://{edge.api}", account, application=f"web-{roles.OTHER_TENANT}")
        assert other.open() == {"type": "unanswered"}
        with here.client("operator", roles.OTHER_TENANT) as operator:
            assert operator.status(account, consistency="strong").count == 0
        # RabbitMQ has closed its connection. Others are served on the next one.
        player = Player(f"http://{edge.api}", account, application="web")
        eventually(lambda: player.open()["type"] == "opened", "another tenant is served")
        assert player.stop()
    finally:
        edge.kill()


def test_viewers_are_simulated_by_a_player(here: Installation) -> None:
    play = ["play", "--tenant", TENANT, "--duration", "2s", "--accounts", "5", "--session", "1s"]
    assert here.cli(roles.PLAYER, *play, "--crash-rate", "0")["exact"] is True
    rate = ["play", "--tenant", TENANT, "--rate", "50", "--duration", "1s", "--accounts", "5"]
    assert here.cli(roles.PLAYER, *rate)


def test_an_operator_changes_settings_and_declares_again(here: Installation) -> None:
    assert here.cli("operator", "topology", "set", "--ttl", "31s")["settings"]["ttl_ms"] == 31_000
    settings = ["--ttl", "31s"]
    declared = here.cli("operator", "topology", "declare", *settings)
    assert declared["settings"]["partitions"] == here.partitions


@pytest.mark.parametrize(
    ("role", "arguments"),
    [(roles.SUBSCRIBER, [TENANT]), ("operator", [])],
    ids=["subscriber", "operator"],
)
def test_a_subscriber_watches_its_tenant(
    here: Installation, role: str, arguments: list[str], tmp_path: Path
) -> None:
    account = f"watched-{secrets.token_hex(4)}"
    with (tmp_path / "said").open("w") as said:
        watching = subprocess.Popen(
            [BINARY, "--json", "watch", *arguments, "--for", "20s"],
            env=here.site.environment(here.url(role)),
            stdout=said,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        assert watching.stderr is not None
        assert "watching" in watching.stderr.readline()
        here.cli(roles.PLAYER, "init", TENANT, account)
        eventually(lambda: account in (tmp_path / "said").read_text(), "the event is printed")
    finally:
        watching.send_signal(signal.SIGTERM)
        watching.communicate(timeout=20)
    assert watching.returncode == 0


def test_a_viewer_publishes_for_one_account_whatever_the_body(here: Installation) -> None:
    stream = new_stream_id()
    refused_before = here.site.bad_input()["account_mismatch"]
    with here.client(roles.A_VIEWER) as viewer:
        ours = {"account": VIEWER, "stream": stream}
        assert viewer.request("init", ours, account_in_key=VIEWER).type == "opened"
        for kind in roles.KINDS:
            theirs = {"account": roles.OTHER_ACCOUNT, "stream": stream}
            viewer.publish(kind, theirs, account_in_key=VIEWER)
        status = viewer.request(
            "status", {"account": VIEWER, "consistency": "strong"}, account_in_key=VIEWER
        )
        assert status.count == 1
    with here.client(roles.BACKEND) as backend:
        assert backend.status(roles.OTHER_ACCOUNT, consistency="strong").count == 0
        backend.stop(VIEWER, stream)
    eventually(
        lambda: here.site.bad_input()["account_mismatch"] == refused_before + 4,
        "all four are refused",
    )


def test_more_routing_keys_in_headers_reach_no_other_tenant(here: Installation) -> None:
    account, stream = f"cc-{secrets.token_hex(4)}", new_stream_id()
    body = {"account": account, "stream": stream}
    keys = [f"{roles.OTHER_TENANT}.{kind}" for kind in roles.KINDS]
    for name in ["CC", "BCC"]:
        with here.client(roles.PLAYER) as player:
            try:
                player.publish("heartbeat", body, headers={"account": account, name: keys})
            except pika.exceptions.ChannelClosedByBroker as error:
                # RabbitMQ 4 looks at those keys as well. Before, their queues get the message, and
                # workers go by the first key alone.
                assert error.reply_code == roles.ACCESS_REFUSED
    with here.client(f"{roles.OTHER_TENANT}.player", roles.OTHER_TENANT) as other:
        assert other.status(account, consistency="strong").count == 0


def test_no_worker_replies_into_a_queue_of_ours(here: Installation) -> None:
    subscription = f"{here.exchange}.lifecycle.{roles.OTHER_TENANT}.replied"
    ours = [f"{here.exchange}.{name}" for name in roles.OURS]
    theirs = [f"elsewhere-streamwatch.{name}" for name in roles.OURS]
    names = [*ours, *theirs, subscription]
    kinds = ["init", "status", "admin"]
    account = f"replied-{secrets.token_hex(4)}"
    with here.channel("operator") as channel:
        channel.queue_declare(subscription)
        before = here.site.bad_input()["bad_field"]
        with here.client(roles.PLAYER) as player:
            for name in names:
                for kind in kinds[:2]:
                    body = {"account": account, "stream": new_stream_id()}
                    player.publish(kind, body, reply_to=name)
            sent = 2 * len(names)
            eventually(
                lambda: here.site.bad_input()["bad_field"] == before + sent, "all are refused"
            )
            assert player.status(account, consistency="strong").count == 0
        assert channel.queue_declare(subscription, passive=True).method.message_count == 0
        channel.queue_delete(subscription)


def test_dead_letters_of_a_reply_queue_are_not_counted(here: Installation) -> None:
    account, stream = f"dead-{secrets.token_hex(4)}", new_stream_id()
    with here.client(f"{roles.OTHER_TENANT}.player", roles.OTHER_TENANT) as victim:
        victim.init(account, stream)
        before = here.site.bad_input()
        with here.client(roles.STOMP) as player:
            for kind in ["heartbeat", "stop", "init", "status"]:
                queue = player.channel.queue_declare(
                    "",
                    exclusive=True,
                    arguments={
                        "x-dead-letter-exchange": here.exchange,
                        "x-dead-letter-routing-key": f"{roles.OTHER_TENANT}.{kind}",
                        "x-message-ttl": 1,
                    },
                ).method.queue
                mine = {"account": account, "stream": stream}
                player.publish("init", mine, reply_to=queue)
            # RabbitMQ 3.10 brings none of them into a log; to queues it does.
            refused = lambda: here.site.bad_input() - before  # noqa: E731
            eventually(lambda: refused()["missing_field"] >= 2, "what arrives is refused")
            assert set(refused()) == {"missing_field"}
            player.stop(account, stream)
        status = victim.status(account, consistency="strong")
        assert list(status.streams) == [stream]
        victim.stop(account, stream)


def test_a_stomp_player_gets_replies(here: Installation, node: Node) -> None:
    user, password = here.permissions.user(roles.STOMP)
    account = f"stomp-{secrets.token_hex(4)}"
    with socket.create_connection(("127.0.0.1", node.port("stomp")), timeout=10) as connection:
        login = {"login": user, "passcode": password, "host": here.vhost, "accept-version": "1.2"}
        connection.sendall(frame("CONNECT", **login))
        assert read_frame(connection).startswith("CONNECTED")
        body = json.dumps({"account": account, "stream": new_stream_id()})
        headers = {
            "destination": f"/exchange/{here.exchange}/{TENANT}.init",
            "reply-to": "/temp-queue/replies",
            "account": account,
        }
        connection.sendall(frame("SEND", body, **headers))
        reply = read_frame(connection)
        assert reply.startswith("MESSAGE") and '"type":"opened"' in reply
        headers["destination"] = f"/exchange/{here.exchange}/{roles.OTHER_TENANT}.init"
        connection.sendall(frame("SEND", body, **headers))
        refused = read_frame(connection)
        assert refused.startswith("ERROR") and "refused" in refused.lower()


def frame(command: str, body: str = "", **headers: str) -> bytes:
    lines = [command, *(f"{name}:{value}" for name, value in headers.items())]
    return ("\n".join(lines) + "\n\n" + body + "\0").encode()


def read_frame(connection: socket.socket) -> str:
    received = b""
    while b"\0" not in received:
        more = connection.recv(4096)
        assert more, f"the connection ended: {received!r}"
        received += more
    return received.decode().lstrip()


@pytest.fixture(scope="module")
def token_key(node: Node) -> bytes:
    """Has the node believe tokens that are signed with it, after users of its own."""
    key = unpadded(SIGNING_KEY)
    as_erlang = f'#{{<<"kty">> => <<"oct">>, <<"alg">> => <<"HS256">>, <<"k">> => <<"{key}">>}}'
    node.ctl(
        "eval",
        f"application:set_env({OAUTH}, resource_server_id, <<\"streamwatch\">>),"
        f"application:set_env({OAUTH}, key_config,"
        f' [{{signing_keys, #{{<<"tests">> => {{map, {as_erlang}}}}}}}]),'
        "application:set_env(rabbit, auth_backends,"
        " [rabbit_auth_backend_internal, rabbit_auth_backend_oauth2]).",
    )
    return SIGNING_KEY


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(key: bytes, scopes: list[str], expires_in: int = 600) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "tests"}
    claims = {
        "aud": "streamwatch",
        "exp": int(time.time()) + expires_in,
        "scope": scopes,
        "sub": "alice",
    }
    signed = ".".join(unpadded(json.dumps(part).encode()) for part in [header, claims])
    return signed + "." + unpadded(hmac.digest(key, signed.encode(), "sha256"))


def test_a_token_makes_a_viewer(here: Installation, node: Node, token_key: bytes) -> None:
    """The scopes of deploy/SECURE.md: whatever a viewer may do, and nothing else."""
    place = f"{quote(here.vhost, safe='')}/{here.exchange}"
    scopes = [f"streamwatch.write:{place}/{TENANT}.{kind}.{VIEWER}" for kind in roles.KINDS]
    replies = "amq.rabbitmq.reply-to.*"
    scopes.append(f"streamwatch.read:{quote(here.vhost, safe='')}/{replies}")
    here.permissions.tokens["token"] = token(token_key, scopes)
    wrong = []
    for row in TABLE:
        may = row.allows(roles.A_VIEWER, here.version)
        actions = [a for a in row.actions if here.partitions > 1 or a.with_one_partition]
        for action, code in tried(here, "token", row, actions):
            if (code not in action.allowed) if may else code != roles.ACCESS_REFUSED:
                wrong.append(f"{'may' if may else 'may not'} {action.name}: {code}")
    assert not wrong, "\n".join(wrong)
    if here.version >= DIRECT_REPLIES_BY_AMQP_1_0:
        with here.amqp10("token", Amqp10Client) as viewer:
            reply = viewer.request(f"status.{VIEWER}", {"account": VIEWER})
        assert reply["type"] == "activity"
    here.permissions.tokens["token"] = token(token_key, scopes, expires_in=-60)
    with pytest.raises(pika.exceptions.AMQPConnectionError), here.channel("token"):
        pass
