"""Opens idle keep-alive connections to an edge: edge_idle.py ADDRESS:PORT NUMBER

Prints the number of open connections once all have had a response, and keeps them until it is ended.
"""

from __future__ import annotations

import asyncio
import sys

# Connections from one address of the client, which differ in their ports.
PER_ADDRESS = 20_000
AT_ONCE = 200
REQUEST = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: edge\r\n\r\n"


async def main(address: str, number: int) -> None:
    host, port = address.rsplit(":", 1)
    turn = asyncio.Semaphore(AT_ONCE)
    opened = []

    async def connect(n: int) -> None:
        source = f"127.0.0.{2 + n // PER_ADDRESS}"
        async with turn:
            reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
            writer.write(REQUEST)
            assert (await reader.read(64)).startswith(b"HTTP/1.1 200")
            opened.append((reader, writer))

    await asyncio.gather(*(connect(n) for n in range(number)))
    print(len(opened), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
