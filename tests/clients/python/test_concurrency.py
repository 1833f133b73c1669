"""Many at once, through two workers."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from processes import Site
from streamwatch_client import Reply, StreamwatchClient, new_stream_id

# No stream expires here, however slow the machine.
SITE = {"ttl": 60.0, "heartbeat_every": 20.0}

ROUNDS = 10
DEVICES = 32


@pytest.fixture(scope="module")
def devices(site: Site) -> Iterator[list[StreamwatchClient]]:
    """Clients of all devices, each with a connection of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(site.client()) for _ in range(DEVICES)]


def init_together(
    devices: list[StreamwatchClient], account: str, max_active: int | None = None
) -> list[Reply]:
    together = threading.Barrier(len(devices))

    def init(device: StreamwatchClient) -> Reply:
        together.wait(timeout=30)
        return device.init(account, new_stream_id(), max_active=max_active)

    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(init, devices))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_simultaneous_inits_are_counted_one_after_the_other(
    devices: list[StreamwatchClient], client: StreamwatchClient, account: str, round_: int
) -> None:
    replies = init_together(devices, account)
    assert {reply.type for reply in replies} == {"opened"}
    assert sorted(reply.count for reply in replies) == list(range(1, DEVICES + 1))
    assert all(reply["stream"] in reply.streams for reply in replies)
    after = client.status(account, consistency="strong")
    assert set(after.streams) == {reply["stream"] for reply in replies}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_of_simultaneous_inits_exactly_max_active_are_opened(
    devices: list[StreamwatchClient], client: StreamwatchClient, account: str, round_: int
) -> None:
    replies = init_together(devices, account, max_active=5)
    assert Counter(reply.type for reply in replies) == {"opened": 5, "refused": DEVICES - 5}
    opened = [reply for reply in replies if reply.type == "opened"]
    assert sorted(reply.count for reply in opened) == [1, 2, 3, 4, 5]
    refused = [reply for reply in replies if reply.type == "refused"]
    assert {(reply["reason"], reply.count) for reply in refused} == {("max_active", 5)}
    after = client.status(account, consistency="strong")
    assert set(after.streams) == {reply["stream"] for reply in opened}


def test_a_strong_answer_never_shows_a_stream_whose_stop_was_confirmed(site: Site) -> None:
    threads, tries = 4, 250

    def stop_and_ask(thread: int) -> list[str]:
        ghosts = []
        # The one who asks is not the one who stopped.
        with site.client() as player, site.client() as asker:
            for n in range(tries):
                account, stream = f"ghost-{thread}-{n}", new_stream_id()
                player.heartbeat(account, stream, want_bad_news=False)
                player.stop(account, stream)
                reply = asker.status(account, stream=stream, consistency="strong")
                if (reply.count, reply["state"]) != (0, "stopped"):
                    ghosts.append(f"{account}: {reply.body}")
        return ghosts

    with ThreadPoolExecutor(threads) as pool:
        ghosts = [ghost for found in pool.map(stop_and_ask, range(threads)) for ghost in found]
    assert ghosts == []
    site.assert_workers_run()
