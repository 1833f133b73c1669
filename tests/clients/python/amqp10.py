"""A minimal AMQP 1.0 publisher, for messages that AMQP 0.9.1 cannot express."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from urllib.parse import quote, unquote, urlparse

DISPOSITION = 0x15
# detach, end, close
CLOSING = (0x16, 0x17, 0x18)

Value = bytes
NULL: Value = b"\x40"
FALSE: Value = b"\x42"


def uint(value: int) -> Value:
    return b"\x70" + struct.pack(">I", value)


def string(value: str) -> Value:
    return b"\xb1" + struct.pack(">I", len(value.encode())) + value.encode()


def symbol(value: str) -> Value:
    return b"\xb3" + struct.pack(">I", len(value)) + value.encode("ascii")


def binary(value: bytes) -> Value:
    return b"\xb0" + struct.pack(">I", len(value)) + value


def uuid(value: bytes) -> Value:
    return b"\x98" + value


def described(code: int, value: Value) -> Value:
    return bytes([0x00, 0x53, code]) + value


def array_of(code: int, items: list[Value]) -> Value:
    body = b"".join(items)
    return bytes([code]) + struct.pack(">II", len(body) + 4, len(items)) + body


def listed(*items: Value) -> Value:
    return array_of(0xD0, list(items))


def mapped(items: list[tuple[Value, Value]]) -> Value:
    return array_of(0xD1, [part for item in items for part in item])


class NotSpoken(Exception):
    """RabbitMQ does not support AMQP 1.0: before 4.0 only with a plugin."""


class Publisher:
    """A connection with one link to an exchange and routing key. Each publish waits for its outcome."""

    def __init__(self, url: str, exchange: str, key: str):
        parts = urlparse(url)
        assert parts.hostname and parts.port and parts.username and parts.password
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self._published = 0
        self._greet(b"AMQP\x03\x01\x00\x00")
        self._read()
        plain = f"\0{unquote(parts.username)}\0{unquote(parts.password)}".encode()
        self._send(1, described(0x41, listed(symbol("PLAIN"), binary(plain))))
        self._read()
        self._greet(b"AMQP\x00\x01\x00\x00")
        vhost = unquote(parts.path[1:])
        self._send(0, described(0x10, listed(string("tests"), string(f"vhost:{vhost}"))))
        self._send(0, described(0x11, listed(NULL, uint(0), uint(1000), uint(1000))))
        address = f"/exchanges/{quote(exchange, safe='')}/{quote(key, safe='')}"
        source, target = described(0x28, listed()), described(0x29, listed(string(address)))
        link = [string("sender"), uint(0), FALSE, NULL, NULL, source, target, NULL, NULL, uint(0)]
        self._send(0, described(0x12, listed(*link)))
        # Open, begin, attach, flow.
        for _ in range(4):
            self._read()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def publish(
        self, body: bytes, annotations: dict[str, Value], properties: dict[str, Value]
    ) -> None:
        number = self._published
        self._published += 1
        transfer = described(
            0x14, listed(uint(0), uint(number), binary(b"%d" % number), uint(0), FALSE)
        )
        message = (
            described(0x72, mapped([(symbol(k), v) for k, v in annotations.items()]))
            + described(0x74, mapped([(string(k), v) for k, v in properties.items()]))
            + described(0x75, binary(body))
        )
        self._send(0, transfer + message)
        while self._read() != DISPOSITION:
            pass

    def _greet(self, header: bytes) -> None:
        self._socket.sendall(header)
        if self._receive(8) != header:
            self._socket.close()
            raise NotSpoken

    def _send(self, kind: int, body: bytes) -> None:
        self._socket.sendall(struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body)

    def _read(self) -> int:
        """The code of the next frame that is no heartbeat."""
        while True:
            (size,) = struct.unpack(">I", self._receive(4))
            frame = self._receive(size - 4)
            if size > 8:
                code = frame[6]
                assert code not in CLOSING, frame
                return code

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            chunk = self._socket.recv(size - len(received))
            assert chunk, "RabbitMQ closed the connection"
            received += chunk
        return received
