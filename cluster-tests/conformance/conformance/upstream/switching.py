"""Services that answer an Upgrade by hand, one script each."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """An unmasked, whole frame of less than 64 KiB (RFC 6455 §5.2)."""
    if len(payload) < 126:
        return bytes([0x80 | opcode, len(payload)]) + payload
    return bytes([0x80 | opcode, 126]) + struct.pack(">H", len(payload)) + payload


def switching(request, more: str = "") -> bytes:
    accept = accept_key(request.get("sec-websocket-key") or "")
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    ).encode()


async def greeting(request, reader, writer) -> None:
    """A first frame in one piece with the 101, then echoes bytes."""
    writer.write(switching(request) + frame(1, b"hello"))
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def bytes_back(request, reader, writer) -> None:
    """Echoes bytes, and on a FIN says goodbye before its own."""
    writer.write(switching(request))
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write(b"goodbye")
    await writer.drain()


async def farewell(request, reader, writer) -> None:
    """Closes its own side first, then tells the journal what still comes."""
    writer.write(switching(request) + b"farewell")
    await writer.drain()
    try:
        # A reset may come before this.
        writer.write_eof()
        while data := await reader.read(1 << 16):
            request.length += len(data)
        request.complete = True
    except OSError:
        request.gone = True


async def reset(request, reader, writer) -> None:
    """Ends by a reset right after the switch."""
    writer.write(switching(request))
    await writer.drain()
    await reader.read(1)
    writer.transport.abort()


async def refused(request, reader, writer) -> None:
    """403, whatever is asked; a following request of the connection counts."""
    writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    await writer.drain()
    await reader.read(1 << 16)


async def framed(request, reader, writer) -> None:
    """A 101 with fields of a body, which it has none of (RFC 9110 §15.2.2)."""
    writer.write(switching(request, "Content-Length: 5\r\n") + frame(1, b"hello"))
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def other(request, reader, writer) -> None:
    """Switches to a protocol that nobody offered."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: mystery\r\nConnection: Upgrade\r\n\r\n")
    await writer.drain()
    await reader.read(1 << 16)


async def unasked(request, reader, writer) -> None:
    """101 to a request without Upgrade."""
    await other(request, reader, writer)


async def nothing(request, reader, writer) -> None:
    """Closes without an answer."""


async def slow(request, reader, writer) -> None:
    """Answers the handshake after a while, so that a client's early bytes come first."""
    await asyncio.sleep(0.2)
    writer.write(switching(request))
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


SCRIPTS = {
    "greeting": greeting,
    "bytes": bytes_back,
    "farewell": farewell,
    "reset": reset,
    "refused": refused,
    "framed": framed,
    "other": other,
    "unasked": unasked,
    "nothing": nothing,
    "slow": slow,
}
