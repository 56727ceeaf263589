"""An HTTP/1.1 service, scripted by the path, that keeps a journal of what it got.

    /echo            200, JSON of the request, when all of it is there
    /bytes/N         200, N bytes with a length
    /chunked/N       200, N bytes in chunks
    /status/N        N without a body
    /trailers        200, chunked, with the trailer x-sum
    /interim         103 with a Link, then 200
    /early           413 before the body is read, then closes
    /cut/N           a length of N + 1, N bytes, then closes
    /cut-chunked/N   N bytes in a chunk, then closes without the last
    /hold            the head and one byte, then nothing until the peer goes
    /wait            nothing until the peer goes
    /switch/NAME     101 by the script of that name, see upstream.switching
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field

from .loop import Loop
from .switching import SCRIPTS

TAG = "x-case"
"""The field that says which case a request belongs to."""
BLOCK = bytes(range(256)) * 64


@dataclass
class Request:
    """What the service got of one request."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    complete: bool = False
    length: int = 0
    trailers: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False
    """The peer left before the answer was whole."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


class Framing(Exception):
    """What came is no HTTP/1.1 that this service reads."""


class Http1Upstream:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.requests: list[Request] = []
        self.server = loop.run(self.listen())
        self.port: int = self.server.sockets[0].getsockname()[1]

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=512, limit=1 << 20)

    def close(self) -> None:
        self.loop.loop.call_soon_threadsafe(self.server.close)

    # === the journal ===

    def seen(self, tag: str) -> list[Request]:
        """The requests of a case whose heads have come, in order."""
        return [request for request in self.requests if tag in request.all(TAG)]

    def await_seen(self, tag: str, until=lambda requests: bool(requests), seconds: float = 5) -> list[Request]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.seen(tag)
            if until(found):
                return found
            time.sleep(0.01)
        return self.seen(tag)

    # === the service ===

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.exchange(reader, writer):
                pass
        except (Framing, OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; false where the connection ends with it."""
        request = await read_head(reader)
        self.requests.append(request)
        path = request.target.split("?")[0].strip("/").split("/")
        what, number = path[0], int(path[1]) if len(path) > 1 and path[1].isdigit() else 0
        if what == "early":
            writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
            await writer.drain()
            writer.write_eof()
            await read_for_a_while(reader)
            return False
        if what == "switch":
            await SCRIPTS[path[1]](request, reader, writer)
            return False
        if (request.get("expect") or "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        digest = await read_body(request, reader)
        request.complete = True
        try:
            return await self.answer(request, what, number, digest, reader, writer)
        except OSError:
            request.gone = True
            raise

    async def answer(self, request, what, number, digest, reader, writer) -> bool:
        if what == "bytes":
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {number}\r\n\r\n".encode())
            if request.method != "HEAD":
                await write_pattern(writer, number)
        elif what == "chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, number, len(BLOCK)):
                writer.write(chunk(pattern(start, min(len(BLOCK), number - start))))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        elif what == "status":
            length = b"" if number in (204, 304) else b"Content-Length: 0\r\n"
            writer.write(f"HTTP/1.1 {number} Text\r\n".encode() + length + b"\r\n")
        elif what == "trailers":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n")
            writer.write(chunk(b"body") + b"0\r\nx-sum: 42\r\n\r\n")
        elif what == "interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            await writer.drain()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal")
        elif what == "cut":
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {number + 1}\r\n\r\n".encode() + pattern(0, number))
            await writer.drain()
            return False
        elif what == "cut-chunked":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(pattern(0, number)))
            await writer.drain()
            return False
        elif what in ("hold", "wait"):
            if what == "hold":
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x"))
            await read_for_a_while(reader, 60)
            request.gone = True
            return False
        else:
            described = describe(request, digest)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(f"Content-Length: {len(described)}\r\n\r\n".encode())
            if request.method != "HEAD":
                writer.write(described)
        await writer.drain()
        return True


# === reading ===


async def read_head(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        raise Framing(first)
    return Request(parts[0], parts[1], parse_fields(lines))


def parse_fields(lines: list[str]) -> list[tuple[str, str]]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Framing(line)
        fields.append((name, value.strip()))
    return fields


async def read_body(request: Request, reader: asyncio.StreamReader) -> str:
    digest = hashlib.sha256()
    if (request.get("transfer-encoding") or "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            data = await reader.readexactly(size + 2)
            request.length += size
            digest.update(data[:-2])
        lines = []
        while (line := await reader.readline()).strip():
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        request.trailers = parse_fields(lines)
    else:
        left = int(request.get("content-length") or 0)
        while left:
            data = await reader.read(min(left, 1 << 16))
            if not data:
                raise EOFError
            left -= len(data)
            request.length += len(data)
            digest.update(data)
    return digest.hexdigest()


async def read_for_a_while(reader: asyncio.StreamReader, seconds: float = 2) -> None:
    """Until the peer has closed, for at most so long."""
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(1 << 16):
                pass
    except (TimeoutError, OSError):
        pass


# === writing ===


def pattern(start: int, length: int) -> bytes:
    """Bytes that tell a lost or doubled piece."""
    offset = start % 256
    return (BLOCK[:256] * (length // 256 + 2))[offset : offset + length]


async def write_pattern(writer: asyncio.StreamWriter, length: int) -> None:
    for start in range(0, length, len(BLOCK)):
        writer.write(pattern(start, min(len(BLOCK), length - start)))
        await writer.drain()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def describe(request: Request, digest: str) -> bytes:
    return json.dumps(
        {
            "method": request.method,
            "target": request.target,
            "fields": request.fields,
            "length": request.length,
            "sha256": digest,
            "trailers": request.trailers,
        }
    ).encode()
