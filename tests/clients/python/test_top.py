"""`streamwatch top` on a real terminal: drawn, resized, and restored."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator

import pyte
import pytest

from processes import BINARY, EXIT_S, Site, eventually
from streamwatch_client import StreamwatchClient

SITE = {"ttl": 60.0, "heartbeat_every": 20.0}
LEAVES_THE_SCREEN = b"\x1b[?1049l"
SHOWS_THE_CURSOR = b"\x1b[?25h"
LINES, COLUMNS = 24, 80


class Terminal:
    """A terminal with a program on it, and what is seen there."""

    def __init__(self, arguments: list[str], environment: dict[str, str]):
        self.output = b""
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, self._theirs = pty.openpty()
        self.resize(LINES)
        self._before = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [BINARY, *arguments],
            env=environment | {"TERM": "xterm-256color"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )

    def resize(self, lines: int) -> None:
        size = struct.pack("HHHH", lines, COLUMNS, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)
        self._screen.resize(lines, COLUMNS)

    def seen(self) -> str:
        self._read()
        return "\n".join(self._screen.display)

    def shows(self, text: str) -> None:
        try:
            eventually(lambda: text in self.seen(), f"the terminal shows {text!r}", within=EXIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; this is seen:\n{self.seen()}") from None

    def hides(self, text: str) -> None:
        eventually(lambda: text not in self.seen(), f"{text!r} is gone", within=EXIT_S)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ended(self) -> int:
        def over() -> bool:
            self._read()
            return self.process.poll() is not None

        eventually(over, "the program ends", within=EXIT_S)
        self._read()
        return self.process.returncode

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self._before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self) -> None:
        while select.select([self._ours], [], [], 0)[0]:
            read = os.read(self._ours, 65536)
            self.output += read
            self._stream.feed(read)


@pytest.fixture
def terminal(site: Site) -> Iterator[Terminal]:
    metrics = ",".join(f"http://{worker.http}/metrics" for worker in site.workers)
    arguments = ["top", "--metrics", metrics, "--interval", "250ms"]
    # As much as can be logged: none of it may reach the picture.
    noisy = site.environment(site.url) | {"STREAMWATCH_LOG": "trace"}
    terminal = Terminal(arguments, noisy)
    try:
        terminal.shows("lifecycle since")
        yield terminal
    finally:
        terminal.close()


def test_an_account_is_chosen_and_opened(
    terminal: Terminal, client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account, metadata={"device": "tv"}).body["stream"]
    terminal.shows(f"acme/{account}"[:20])
    terminal.press("\x1b[B\r")
    terminal.shows("Esc close the account")
    terminal.shows(stream)
    terminal.press("?")
    terminal.shows("Help: ? or Esc closes it")
    terminal.press("\x1b")
    terminal.hides("Help")
    terminal.press("\x1b")
    terminal.shows("choose an account")
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.parametrize("way", ["q", "\x03", signal.SIGTERM], ids=["q", "ctrl-c", "sigterm"])
def test_the_terminal_is_restored(terminal: Terminal, way: str | signal.Signals) -> None:
    assert not terminal.is_as_before(), "it is in raw mode"
    if isinstance(way, str):
        terminal.press(way)
    else:
        terminal.process.send_signal(way)
    assert terminal.ended() == 0
    assert terminal.is_as_before()
    assert LEAVES_THE_SCREEN in terminal.output
    assert SHOWS_THE_CURSOR in terminal.output
    # No log was drawn over it, and none was written behind it.
    assert b"TRACE" not in terminal.output and b"SIGTERM" not in terminal.output


def test_the_view_adapts_to_the_size_of_the_terminal(terminal: Terminal) -> None:
    terminal.resize(10)
    terminal.shows("The screen is too small")
    terminal.resize(30)
    terminal.shows("Busiest tenants")
    terminal.press("q")
    assert terminal.ended() == 0
