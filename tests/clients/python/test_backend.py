"""The backend in aio-pika: many questions on one connection, and a broker that is restarted."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from processes import Node, Site, private_node
from streamwatch_backend import Backend, Rejected, new_stream_id

QUESTIONS = 500
DEVICES = 32

# No stream expires while the broker restarts.
SITE = {"ttl": 60.0, "heartbeat_every": 20.0}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Of their own: these tests restart it."""
    with private_node(tmp_path_factory.mktemp("backend")) as node:
        yield node


@pytest.fixture(scope="module")
def broker_url(node: Node) -> str:
    return node.url


def with_backend(
    site: Site, use: Callable[[Backend], Awaitable[None]], timeout: float = 10.0
) -> None:
    async def run() -> None:
        async with Backend(site.url, "acme", site.namespace, timeout=timeout) as backend:
            await use(backend)

    asyncio.run(run())
    site.assert_workers_run()


async def eventually(succeeds: Callable[[], Awaitable[dict[str, object]]]) -> dict[str, object]:
    """Asks until there is an answer."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await succeeds()
            except (TimeoutError, ConnectionError):
                await asyncio.sleep(0.1)


def test_accounts_and_totals_of_the_tenant(site: Site) -> None:
    site.run("topology", "set", "--count-by", "channel")
    accounts = [f"listed-{n:02}" for n in range(20)]

    async def use(backend: Backend) -> None:
        for account in accounts:
            for _ in range(2):
                metadata = {"channel": "news"}
                await backend.open(account, stream=new_stream_id(), metadata=metadata)
        found: list[str] = []
        after: str | None = "listed-"
        while after is not None:
            page, after = await backend.accounts(min_active=2, after=after, limit=7)
            found += [it["account"] for it in page]
        assert [account for account in found if account.startswith("listed-")] == accounts
        totals = await backend.totals(group_by=["channel"])
        assert totals["by"]["channel"]["news"] == 40
        assert totals["streams"] >= 40
        with pytest.raises(Rejected, match="from 1 to 1000"):
            await backend.accounts(min_active=0)

    with_backend(site, use)


def test_a_batch_carries_the_events_of_many_accounts(site: Site) -> None:
    streams = {f"batched-{n}-{secrets.token_hex(4)}": new_stream_id() for n in range(QUESTIONS)}

    def events(kind: str) -> list[dict[str, str]]:
        return [{"kind": kind, "account": a, "stream": s} for a, s in streams.items()]

    async def count(backend: Backend) -> int:
        asked = (backend.status(account, consistency="strong") for account in streams)
        return sum(reply["activity"]["count"] for reply in await asyncio.gather(*asked))

    async def publish(backend: Backend) -> None:
        place = await backend.status(next(iter(streams)))
        here = {name: place[name] for name in ("partition", "partitions")}
        await backend.batch(events=events("heartbeat"), **here)
        assert await count(backend) == QUESTIONS
        await backend.batch(events=events("stop"), **here)
        assert await count(backend) == 0

    with_backend(site, publish)


def test_hundreds_of_questions_at_once_each_get_their_own_answer(site: Site) -> None:
    accounts = [f"many-{n}-{secrets.token_hex(4)}" for n in range(QUESTIONS)]

    async def ask(backend: Backend) -> None:
        streams = {account: new_stream_id() for account in accounts}
        await asyncio.gather(*(backend.open(a, stream=streams[a]) for a in accounts))
        replies = await asyncio.gather(*(backend.status(a, consistency="strong") for a in accounts))
        told = {
            reply["activity"]["account"]: [it["stream"] for it in reply["activity"]["streams"]]
            for reply in replies
        }
        assert told == {account: [stream] for account, stream in streams.items()}

    with_backend(site, ask)


def test_of_simultaneous_inits_exactly_max_active_are_opened(site: Site, account: str) -> None:
    async def ask(backend: Backend) -> None:
        replies = await asyncio.gather(
            *(
                backend.open(account, stream=new_stream_id(), max_active=5)
                for _ in range(DEVICES)
            )
        )
        assert Counter(it["type"] for it in replies) == {"opened": 5, "refused": DEVICES - 5}

    with_backend(site, ask)


def test_a_retry_opens_no_second_stream_and_a_stop_ends_it(site: Site, account: str) -> None:
    async def ask(backend: Backend) -> None:
        ids = {"stream": new_stream_id(), "message_id": secrets.token_hex(8)}
        for _ in range(2):
            reply = await backend.open(account, **ids, metadata={"device": "tv"}, max_active=1)
            assert (reply["type"], reply["activity"]["count"]) == ("opened", 1)
        grouped = await backend.status(account, group_by=["device"], consistency="strong")
        assert grouped["activity"]["by"] == {"device": {"tv": 1}}
        await backend.stop(account, ids["stream"])
        after = await backend.status(account, stream=ids["stream"], consistency="strong")
        assert (after["state"], after["activity"]["count"]) == ("stopped", 0)

    with_backend(site, ask)


def test_an_error_is_raised_with_its_code(site: Site, account: str) -> None:
    async def ask(backend: Backend) -> None:
        with pytest.raises(Rejected) as rejected:
            await backend.open(account, stream="not a UUID")
        error = rejected.value
        assert (error.code, error.field, error.retryable) == ("bad_field", "stream", False)

    with_backend(site, ask)


def test_a_request_without_a_reply_ends_after_its_timeout(site: Site, account: str) -> None:
    async def ask(backend: Backend) -> None:
        assert (await backend.status(account))["activity"]["count"] == 0
        for worker in site.workers:
            worker.pause()
        try:
            asked = time.monotonic()
            with pytest.raises(TimeoutError):
                await backend.status(account)
            assert 1 <= time.monotonic() - asked < 5
        finally:
            for worker in site.workers:
                worker.resume()
        reply = await eventually(lambda: backend.status(account))
        assert reply["type"] == "activity"

    with_backend(site, ask, timeout=1.0)


def test_a_backend_continues_after_an_outage_of_the_broker(
    site: Site, node: Node, account: str
) -> None:
    async def ask(backend: Backend) -> None:
        stream = new_stream_id()
        await backend.open(account, stream=stream)
        await asyncio.to_thread(node.stop)
        try:
            with pytest.raises((TimeoutError, ConnectionError)):
                await backend.status(account)
        finally:
            await asyncio.to_thread(node.start)
        reply = await eventually(lambda: backend.status(account, stream=stream))
        assert (reply["state"], reply["activity"]["count"]) == ("active", 1)
        # And many again, on the connection that came back.
        replies = await asyncio.gather(*(backend.status(account) for _ in range(QUESTIONS)))
        assert {reply["activity"]["count"] for reply in replies} == {1}

    with_backend(site, ask, timeout=5.0)
