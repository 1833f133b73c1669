"""The table of roles: what each may do, as data. `test_roles` tries every cell of it.

A row is a promise to operators, and stands in deploy/SECURE.md as it stands here. Its actions are
all the ways that are tried; a role may do all of them or none. Every action gets a channel of its
own: what RabbitMQ refuses closes the channel with 403.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

TENANT, OTHER_TENANT = "acme", "other"
EDGE_TENANTS = [TENANT, "globex"]
VIEWER, OTHER_ACCOUNT = "alice", "bob"
KINDS = ["init", "heartbeat", "stop", "status"]

# By the end of its user's name, with its heading.
ROLES = {
    "worker": "worker",
    "operator": "operator",
    f"{TENANT}.player": "player",
    f"{TENANT}.stomp-player": "STOMP player",
    f"{TENANT}.backend": "backend",
    "edge": "edge",
    f"{TENANT}.viewer.{VIEWER}": "viewer",
    f"{TENANT}.subscriber": "subscriber",
    f"{TENANT}.mqtt-player": "MQTT player",
    f"{TENANT}.mqtt-viewer.{VIEWER}": "MQTT viewer",
}
WORKER, OPERATOR, PLAYER, STOMP, BACKEND, EDGE, A_VIEWER, SUBSCRIBER, MQTT, MQTT_VIEWER = ROLES
DEVICES = {MQTT, MQTT_VIEWER}
MQTT_EXCHANGE = "amq.topic"
SPEAKERS = {OPERATOR, PLAYER, STOMP, BACKEND}
EVERYBODY = set(ROLES)

ACCESS_REFUSED = 403
RESOURCE_LOCKED, PRECONDITION_FAILED, NOT_IMPLEMENTED = 405, 406, 540
DONE = 200


@dataclass
class At:
    """Where an action is tried: by one role, in one installation."""

    exchange: str
    channel: BlockingChannel
    may: bool

    def __getitem__(self, name: str) -> str:
        """A queue or exchange by its suffix; a spare one for roles that may destroy it."""
        return f"{self.exchange}.{name}"

    def spare(self, name: str) -> str:
        return f"{self.exchange}.{name.replace('p00', 'p77') if self.may else name}"

    def own(self, tenant: str = TENANT) -> str:
        """A name for a subscriber's queue or exchange."""
        return self[f"lifecycle.{tenant}.{uuid.uuid4()}"]

    def publish(self, exchange: str, key: str, **properties: object) -> None:
        self.channel.confirm_delivery()
        # Nothing that counts: what is allowed to arrive is refused by the workers.
        self.channel.basic_publish(exchange, key, b"{}", pika.BasicProperties(**properties))

    def declare(self, queue: str, arguments: dict[str, object] | None = None) -> str:
        declared = self.channel.queue_declare(queue, exclusive=True, arguments=arguments)
        return declared.method.queue


@dataclass(frozen=True)
class Action:
    """One thing to try, and the answers that mean that it was allowed."""

    name: str
    try_it: Callable[[At], object]
    allowed: set[int] = field(default_factory=lambda: {DONE})
    # In an installation of one partition too.
    with_one_partition: bool = True


@dataclass(frozen=True)
class Row:
    label: str
    may: set[str]
    actions: list[Action]
    # Before this version of RabbitMQ every role may.
    since: tuple[int, ...] = ()

    def allows(self, role: str, version: tuple[int, ...]) -> bool:
        return role in self.may or version < self.since


def outcome(at: At, action: Action) -> int:
    """RabbitMQ's answer: 200, or the code with which it closed the channel or the connection."""
    try:
        action.try_it(at)
    except (
        pika.exceptions.ChannelClosedByBroker,
        pika.exceptions.ConnectionClosedByBroker,
    ) as error:
        return error.reply_code
    except pika.exceptions.NackError:
        return DONE
    return DONE


def publishing(key: str, exchange: str = "", **properties: object) -> Action:
    """Publishes to the exchange with that suffix, without one to the players' exchange."""

    def publish(at: At) -> None:
        at.publish(f"{at.exchange}.{exchange}" if exchange else at.exchange, key, **properties)

    return Action(f"publish {key!r} to {exchange or 'streamwatch'}", publish)


def by_mqtt(key: str) -> Action:
    """Publishes to the MQTT plugin's exchange as the device's user, as the plugin does."""
    return Action(
        f"publish {key!r} to {MQTT_EXCHANGE}", lambda at: at.publish(MQTT_EXCHANGE, key)
    )


def to_queue(queue: str) -> Action:
    return Action(f"publish to {queue} directly", lambda at: at.publish("", at[queue]))


def consume(at: At, queue: str) -> None:
    at.channel.basic_qos(prefetch_count=1)
    at.channel.basic_consume(queue, lambda *_: None)


def consuming(queue: str) -> Action:
    return Action(f"consume {queue}", lambda at: consume(at, at[queue]))


def with_exclusive_queue(arguments: Callable[[At], dict[str, object]]) -> Callable[[At], object]:
    """Declares a queue of a name that this role may declare, if it may any."""

    def declare(at: At) -> None:
        at.declare(at.own(), arguments(at))

    return declare


def dead_letters(to: Callable[[At], str]) -> Callable[[At], object]:
    return with_exclusive_queue(lambda at: {"x-dead-letter-exchange": to(at)})


def bind_own(at: At, exchange: str, key: str) -> None:
    queue = at.declare(at.own())
    at.channel.queue_bind(queue, exchange, key)


def binding_own(exchange: str, key: str) -> Action:
    """A queue of one's own to an exchange of ours."""

    def bind(at: At) -> None:
        bind_own(at, f"{at.exchange}.{exchange}" if exchange else at.exchange, key)

    return Action(f"bind an own queue to {exchange or 'streamwatch'} with {key!r}", bind)


def own_exchange(at: At, arguments: dict[str, object] | None = None) -> str:
    name = at.own()
    at.channel.exchange_declare(name, "topic", auto_delete=True, arguments=arguments)
    return name


def bind_exchange(at: At, destination: str, source: str, key: str) -> None:
    """And takes the binding away again."""
    at.channel.exchange_bind(destination, source, key)
    at.channel.exchange_unbind(destination, source, key)


def bind_ours(at: At, queue: str, exchange: str) -> None:
    key = "never.never.never"
    at.channel.queue_bind(queue, exchange, key)
    at.channel.queue_unbind(queue, exchange, key)


def declare_and_delete(at: At, queue: str) -> None:
    if at.may:
        at.channel.queue_declare(queue)
    at.channel.queue_delete(queue)


def declare_and_delete_exchange(at: At, exchange: str) -> None:
    if at.may:
        at.channel.exchange_declare(exchange, "topic")
    at.channel.exchange_delete(exchange)


def session_queue(client: str) -> str:
    """The queue that RabbitMQ declares for an MQTT client, as the client's user."""
    return f"mqtt-subscription-{client}-{uuid.uuid4().hex}qos1"


def subscribe(at: At, client: str, key: str) -> None:
    queue = at.declare(session_queue(client))
    at.channel.queue_bind(queue, MQTT_EXCHANGE, key)
    at.channel.basic_consume(queue, lambda *_: None)


def subscribing(key: str, client: str = f"{TENANT}.{VIEWER}.tv") -> Action:
    return Action(
        f"subscribe {client!r} to {key!r}", lambda at: subscribe(at, client, key)
    )


def dead_letters_of_session(to: Callable[[At], str]) -> Action:
    return Action(
        "an MQTT client's queue",
        lambda at: at.declare(
            session_queue(f"{TENANT}.{VIEWER}.tv"), {"x-dead-letter-exchange": to(at)}
        ),
    )


def reply_queue(at: At) -> None:
    queue = at.declare("")
    at.channel.basic_consume(queue, lambda *_: None)


def take_the_lock(at: At) -> None:
    at.declare(at["hash.lock"])
    at.channel.queue_delete(at["hash.lock"])


def follow(at: At) -> None:
    queue = at.declare(at.own())
    for key in ["*", "#", "opened", "expired"]:
        at.channel.queue_bind(queue, at["lifecycle"], f"{TENANT}.{key}")
    at.channel.basic_consume(queue, lambda *_: None)
    at.channel.queue_purge(queue)
    at.channel.queue_delete(queue)


def follow_by_exchange(at: At) -> None:
    exchange = own_exchange(at)
    bind_exchange(at, exchange, at["lifecycle"], f"{TENANT}.#")
    at.channel.exchange_delete(exchange)


LOGS = ["p00.log", "p00.snapshots"]
REQUESTS = ["p00.init", "p00.status", "unrouted"]
INTAKE = ["intake.requests", "intake.events"]
OURS = LOGS + REQUESTS
INTERNAL = ["p00", "unrouted", "each"]
INTERNAL_OF_SEVERAL = ["header", "entrance", "intake", "closed"]


def of_several(actions: list[Action]) -> list[Action]:
    """Actions that need several partitions."""
    return [Action(a.name, a.try_it, a.allowed, with_one_partition=False) for a in actions]


TABLE = [
    Row(
        f"publish `{TENANT}.init`, `.heartbeat`, `.stop`, `.status`",
        SPEAKERS | {EDGE},
        [publishing(f"{TENANT}.{kind}") for kind in KINDS],
    ),
    Row(
        f"publish with the account in the key: `{TENANT}.init.{VIEWER}`",
        SPEAKERS | {A_VIEWER},
        [publishing(f"{TENANT}.{kind}.{VIEWER}") for kind in KINDS],
    ),
    Row(
        f"publish for another account: `{TENANT}.init.{OTHER_ACCOUNT}`",
        SPEAKERS,
        [publishing(f"{TENANT}.{kind}.{OTHER_ACCOUNT}") for kind in KINDS],
    ),
    Row(
        f"publish for each tenant of an edge: `{EDGE_TENANTS[1]}.init`, `.batch`",
        {OPERATOR, EDGE},
        [publishing(f"{EDGE_TENANTS[1]}.{kind}") for kind in [*KINDS, "batch"]],
    ),
    Row(
        f"publish for another tenant: `{OTHER_TENANT}.init`",
        {OPERATOR},
        [publishing(f"{OTHER_TENANT}.{kind}") for kind in KINDS]
        + [publishing(f"{OTHER_TENANT}.init.{VIEWER}"), publishing(f"x{TENANT}.init")]
        + [publishing(f"{TENANT}x.init"), publishing(f"{OTHER_TENANT}.{TENANT}.init")],
    ),
    Row(
        f"publish `{TENANT}.batch`",
        {OPERATOR, BACKEND, EDGE},
        [publishing(f"{TENANT}.batch")],
    ),
    Row(
        f"ask about all accounts: `{TENANT}.accounts`, `.totals`",
        {OPERATOR, BACKEND},
        [publishing(f"{TENANT}.accounts"), publishing(f"{TENANT}.totals")],
    ),
    Row(
        "publish with any other key: `acme.admin`, `acme`, more words",
        {OPERATOR},
        [
            publishing(key)
            for key in [
                f"{TENANT}.admin",
                f"{TENANT}.opened",
                TENANT,
                "",
                "#",
                f"{TENANT}.#",
                f"{TENANT}.initial",
                f"{TENANT}.batch.{VIEWER}",
                f"{OTHER_TENANT}.batch",
                f"{TENANT}.accounts.{VIEWER}",
                f"{TENANT}.totals.{VIEWER}",
                f"{OTHER_TENANT}.accounts",
                f"{OTHER_TENANT}.totals",
                f"{TENANT}.init.",
                f"{TENANT}.init.{VIEWER}.{OTHER_ACCOUNT}",
                f"{TENANT}.INIT",
            ]
        ],
    ),
    Row(
        "publish to a queue directly: forge a proposal, a request, a snapshot, a reply",
        {WORKER, OPERATOR},
        [to_queue(queue) for queue in OURS + [f"lifecycle.{OTHER_TENANT}.q"]]
        + of_several([to_queue(queue) for queue in INTAKE + ["closed"]])
        + [Action("publish to another client's queue", lambda at: at.publish("", "somebody"))],
    ),
    Row(
        "publish to a partition directly, around the hash exchange",
        {WORKER, OPERATOR},
        of_several([publishing(f"{TENANT}.init", "hash")]),
    ),
    Row(
        "publish to internal exchanges, or to RabbitMQ's own, such as `amq.direct`",
        set(),
        [publishing(f"{TENANT}.heartbeat", exchange) for exchange in INTERNAL]
        + of_several([publishing(f"{TENANT}.init", name) for name in INTERNAL_OF_SEVERAL])
        + [
            Action(f"publish to {name}", lambda at, name=name: at.publish(name, f"{TENANT}.init"))
            for name in ["amq.direct", "amq.fanout", "amq.headers", "amq.match"]
        ]
        + [publishing(f"{TENANT}.init", "mqtt")],
    ),
    Row(
        f"by MQTT: publish `{TENANT}/init/{VIEWER}`, and `heartbeat`, `stop`, `status`",
        DEVICES,
        [by_mqtt(f"{TENANT}.{kind}.{VIEWER}") for kind in KINDS],
    ),
    Row(
        f"by MQTT: publish without an account, or for another: `{TENANT}/init/{OTHER_ACCOUNT}`",
        {MQTT},
        [by_mqtt(f"{TENANT}.{kind}") for kind in KINDS]
        + [by_mqtt(f"{TENANT}.{kind}.{OTHER_ACCOUNT}") for kind in KINDS]
        + [by_mqtt(f"{TENANT}.init.a%2Eb~_-"), by_mqtt(f"{TENANT}.heartbeat.{'x' * 240}")],
    ),
    Row(
        "by MQTT: publish for another tenant, or to other topics",
        set(),
        [by_mqtt(f"{OTHER_TENANT}.{kind}.{VIEWER}") for kind in KINDS]
        + [
            by_mqtt(key)
            for key in [
                TENANT,
                f"x{TENANT}.init",
                f"{TENANT}.batch",
                f"{TENANT}.batch.{VIEWER}",
                f"{TENANT}.admin.{VIEWER}",
                f"{TENANT}.init.{VIEWER}.{OTHER_ACCOUNT}",
                f"{TENANT}.init.",
                f"{TENANT}.init.é",
                f"{TENANT}.init.#",
            ]
        ],
    ),
    Row(
        f"by MQTT: reply to `{TENANT}/replies/…`",
        {WORKER},
        [
            by_mqtt(key)
            for key in [
                f"{TENANT}.replies.{VIEWER}.tv",
                f"{TENANT}.replies.tv",
                f"{OTHER_TENANT}.replies.a%2Eb.x.y",
            ]
        ],
    ),
    Row(
        f"by MQTT: subscribe to `{TENANT}/replies/{VIEWER}/…`",
        DEVICES,
        [
            subscribing(f"{TENANT}.replies.{VIEWER}.tv"),
            subscribing(f"{TENANT}.replies.{VIEWER}.tv.4711"),
        ],
    ),
    Row(
        f"by MQTT: subscribe to replies of another account: `{TENANT}/replies/{OTHER_ACCOUNT}/…`",
        {MQTT},
        [
            subscribing(f"{TENANT}.replies.{OTHER_ACCOUNT}.tv"),
            subscribing(f"{TENANT}.replies.tv"),
            subscribing(f"{TENANT}.replies.{OTHER_ACCOUNT}.tv", f"{TENANT}.{OTHER_ACCOUNT}.tv"),
        ],
    ),
    Row(
        "by MQTT: subscribe to other topics, with wildcards, or as a client of another tenant",
        set(),
        [
            subscribing(key)
            for key in [
                "#",
                f"{TENANT}.#",
                f"{TENANT}.replies.#",
                f"{TENANT}.replies.*",
                f"{TENANT}.replies.{VIEWER}.#",
                f"{TENANT}.replies.{VIEWER}.*",
                f"{TENANT}.heartbeat.{VIEWER}",
                f"{OTHER_TENANT}.replies.{VIEWER}.tv",
            ]
        ]
        + [subscribing(f"{TENANT}.replies.{VIEWER}.tv", f"{OTHER_TENANT}.{VIEWER}.tv")],
    ),
    Row(
        "publish to `streamwatch.lifecycle`, `.rejected`",
        {WORKER, OPERATOR},
        [publishing(f"{TENANT}.opened", exchange) for exchange in ["lifecycle", "rejected"]],
    ),
    Row(
        "receive replies by direct reply-to",
        EVERYBODY,
        [
            Action(
                "consume amq.rabbitmq.reply-to",
                lambda at: at.channel.basic_consume(
                    "amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True
                ),
            )
        ],
    ),
    Row(
        "receive replies in a queue that RabbitMQ names (`amq.gen-…`)",
        {STOMP},
        [Action("declare and consume a server-named queue", reply_queue)],
    ),
    Row(
        "consume logs and requests",
        {WORKER, OPERATOR},
        [consuming(queue) for queue in OURS]
        + of_several([consuming(queue) for queue in INTAKE])
        + [
            Action(
                f"get from {queue}",
                lambda at, queue=queue: at.channel.basic_get(at[queue]),
                {NOT_IMPLEMENTED} if queue in LOGS else {DONE},
            )
            for queue in OURS
        ]
        + [
            Action(f"purge {queue}", lambda at, queue=queue: at.channel.queue_purge(at[queue]))
            for queue in REQUESTS
        ]
        + [
            Action(
                f"purge {queue}",
                lambda at, queue=queue: at.channel.queue_purge(at[queue]),
                {NOT_IMPLEMENTED},
            )
            for queue in LOGS
        ],
    ),
    Row(
        "bind partitions to the hash exchange",
        {WORKER, OPERATOR},
        of_several(
            [
                Action("take the ring's lock", take_the_lock),
                Action(
                    "declare hash",
                    lambda at: at.channel.exchange_declare(
                        at["hash"], "x-consistent-hash", arguments={"hash-header": "account"}
                    ),
                ),
                Action(
                    "bind p00 to hash",
                    lambda at: at.channel.exchange_bind(at["p00"], at["hash"], "1"),
                ),
                Action(
                    "bind hash to entrance",
                    lambda at: at.channel.exchange_bind(at["hash"], at["entrance"], ""),
                ),
            ]
        ),
    ),
    Row(
        "declare, bind and delete exchanges and queues of streamwatch",
        {OPERATOR},
        [
            Action(
                f"delete {queue}", lambda at, q=queue: declare_and_delete(at, at.spare(q))
            )
            for queue in [*LOGS, "p00.init", "p00.status"]
        ]
        + [
            Action(
                "delete p00", lambda at: declare_and_delete_exchange(at, at.spare("p00"))
            ),
            Action(
                "delete streamwatch",
                lambda at: declare_and_delete_exchange(
                    at, at.exchange + ".spare" if at.may else at.exchange
                ),
            ),
            Action(
                "declare streamwatch",
                lambda at: at.channel.exchange_declare(at.exchange, "topic", durable=True),
            ),
            Action(
                "declare lifecycle otherwise",
                lambda at: at.channel.exchange_declare(at["lifecycle"], "fanout"),
                {PRECONDITION_FAILED},
            ),
            Action(
                "bind the log to streamwatch",
                lambda at: bind_ours(at, at["p00.log"], at.exchange),
            ),
            Action(
                "bind the requests to the lifecycle",
                lambda at: bind_ours(at, at["p00.init"], at["lifecycle"]),
            ),
        ],
    ),
    Row(
        "admit messages by MQTT: bind `amq.topic` to exchanges of streamwatch",
        {OPERATOR},
        [
            Action(
                "bind mqtt to amq.topic",
                lambda at: bind_exchange(at, at["mqtt"], MQTT_EXCHANGE, "never.never"),
            ),
            Action(
                "bind the log to amq.topic",
                lambda at: bind_ours(at, at["p00.log"], MQTT_EXCHANGE),
            ),
            Action(
                "bind streamwatch to amq.topic",
                lambda at: bind_exchange(at, at.exchange, MQTT_EXCHANGE, "never.never"),
            ),
        ],
    ),
    Row(
        "bind or declare other exchanges and queues",
        set(),
        [
            Action(
                "bind the log to amq.direct",
                lambda at: at.channel.queue_bind(at["p00.log"], "amq.direct", "#"),
            ),
            Action(
                "bind amq.topic to the lifecycle",
                lambda at: at.channel.exchange_bind("amq.topic", at["lifecycle"], "#"),
            ),
            Action("declare a queue of any name", lambda at: at.declare("mine")),
            Action(
                "declare an exchange of any name",
                lambda at: at.channel.exchange_declare("mine", "topic"),
            ),
        ],
    ),
    Row(
        f"follow the lifecycle of `{TENANT}`, in a queue `streamwatch.lifecycle.{TENANT}.…`",
        {OPERATOR, SUBSCRIBER},
        [
            Action("follow by a queue", follow),
            Action("follow by an exchange", follow_by_exchange),
        ],
    ),
    Row(
        "follow other tenants, all tenants, or rejected messages",
        {OPERATOR},
        [
            binding_own("lifecycle", key)
            for key in [f"{OTHER_TENANT}.*", "#", "*", "*.opened", f"#.{TENANT}", ""]
        ]
        + [binding_own("rejected", f"{TENANT}.*")]
        + [
            Action(
                "declare another tenant's queue",
                lambda at: at.declare(at.own(OTHER_TENANT)),
            ),
            consuming(f"lifecycle.{OTHER_TENANT}.q"),
            Action(
                "follow all by an exchange",
                lambda at: bind_exchange(at, own_exchange(at), at["lifecycle"], "#"),
            ),
        ],
    ),
    Row(
        "read players' messages: bind a queue or exchange of one's own to `streamwatch`",
        {OPERATOR},
        [
            binding_own("", f"{TENANT}.#"),
            Action(
                "overhear by an exchange",
                lambda at: bind_exchange(at, own_exchange(at), at.exchange, f"{TENANT}.#"),
            ),
        ],
    ),
    Row(
        "publish through RabbitMQ: dead letters, alternate exchanges, bindings",
        {OPERATOR},
        [
            Action("dead letters to the default exchange", dead_letters(lambda _: "")),
            Action("dead letters to streamwatch", dead_letters(lambda at: at.exchange)),
            Action("dead letters to the lifecycle", dead_letters(lambda at: at["lifecycle"])),
            Action(
                "an alternate exchange of ours",
                lambda at: own_exchange(at, {"alternate-exchange": at["unrouted"]}),
            ),
            Action(
                "the alternate exchange streamwatch",
                lambda at: own_exchange(at, {"alternate-exchange": at.exchange}),
            ),
            Action(
                "the lifecycle into streamwatch",
                lambda at: bind_exchange(at, at.exchange, at["lifecycle"], f"{TENANT}.#"),
            ),
            Action(
                "an own exchange into a log",
                lambda at: bind_ours(at, at["p00.log"], own_exchange(at)),
            ),
        ],
    ),
    Row(
        "publish dead letters of a reply queue to the default exchange",
        set(),
        [
            Action(
                "a server-named queue",
                lambda at: at.declare("", {"x-dead-letter-exchange": ""}),
            )
        ],
    ),
    Row(
        "publish dead letters of a reply queue to `streamwatch`, where workers reject them",
        {STOMP},
        [
            Action(
                "a server-named queue",
                lambda at: at.declare("", {"x-dead-letter-exchange": at.exchange}),
            )
        ],
    ),
    Row(
        "publish dead letters of an MQTT client's queue to `amq.topic`; workers reject them",
        DEVICES,
        [dead_letters_of_session(lambda _: MQTT_EXCHANGE)],
    ),
    Row(
        "publish dead letters of an MQTT client's queue to any other exchange",
        set(),
        [
            dead_letters_of_session(to)
            for to in [lambda _: "", lambda at: at.exchange, lambda at: at["lifecycle"]]
        ],
    ),
    Row(
        "declare a queue passively, see its length (before RabbitMQ 4.2.6: every role)",
        {WORKER, OPERATOR},
        [
            Action(
                f"look at {queue}",
                lambda at, queue=queue: at.channel.queue_declare(at[queue], passive=True),
            )
            for queue in OURS
        ],
        since=(4, 2, 6),
    ),
]


def markdown() -> str:
    """The table as it stands in deploy/SECURE.md."""
    lines = [
        "| | " + " | ".join(ROLES.values()) + " |",
        "| --- |" + " :-: |" * len(ROLES),
    ]
    for row in TABLE:
        cells = " | ".join("yes" if role in row.may else "–" for role in ROLES)
        lines.append(f"| {row.label} | {cells} |")
    return "\n".join(lines)

