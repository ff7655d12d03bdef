"""A provider that responds to every request with constant JSON; runs on the core of the load.

    python3 provider.py PORT
"""

import asyncio
import sys

BODIES = [
    b'{"data":{"amount":"97123.45","base":"BTC","currency":"USD"}}',
    b'{"current":{"time":"2026-03-26T16:15","temperature_2m":21.3,"wind_speed_10m":9.4}}',
    b'{"EUR":0.87598,"ARS":1434.25}',
]


def response(path):
    """Returns the response; the last digit of the path selects the body."""
    body = BODIES[int(path[-1:] or b"0") % len(BODIES) if path[-1:].isdigit() else 0]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


class Provider(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        *heads, self.buffer = (self.buffer + data).split(b"\r\n\r\n")
        for head in heads:
            self.transport.write(response(head.split(b" ", 2)[1]))


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
