"""Frames as bytes (RFC 9113 §4.1, §6), with no rule held; and field blocks that a decoder needs no state for."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20


class Type(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """RFC 9113 §7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """RFC 9113 §6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


def code_name(code: int) -> str:
    return Code(code).name if code in Code.__members__.values() else f"code {code}"


@dataclass
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes
    fields: list[tuple[str, str]] | None = None
    """Those of the field block that ends with this frame."""
    ends_stream: bool = False
    """END_STREAM of a DATA frame, or of the HEADERS whose block ends here."""

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)

    def number(self) -> int:
        """What RST_STREAM and WINDOW_UPDATE carry."""
        return struct.unpack(">I", self.payload[:4])[0]

    def goaway(self) -> tuple[int, int]:
        """The last stream and the error code of a GOAWAY."""
        last, code = struct.unpack(">II", self.payload[:8])
        return last & 0x7FFFFFFF, code


def frame(type: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type, flags, stream) + payload


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(Type.DATA, END_STREAM if end else 0, stream, payload)


def headers(stream: int, block: bytes, *, end: bool = True, end_headers: bool = True) -> bytes:
    return frame(Type.HEADERS, (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0), stream, block)


def continuation(stream: int, block: bytes, *, end_headers: bool = True) -> bytes:
    return frame(Type.CONTINUATION, END_HEADERS if end_headers else 0, stream, block)


def priority(stream: int, depends_on: int = 0, weight: int = 15) -> bytes:
    return frame(Type.PRIORITY, 0, stream, struct.pack(">IB", depends_on, weight))


def rst_stream(stream: int, code: int = Code.CANCEL) -> bytes:
    return frame(Type.RST_STREAM, 0, stream, struct.pack(">I", code))


def settings(values: Iterable[tuple[int, int]] = (), *, ack: bool = False) -> bytes:
    return frame(Type.SETTINGS, ACK if ack else 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values))


def ping(payload: bytes = b"sequence", *, ack: bool = False) -> bytes:
    return frame(Type.PING, ACK if ack else 0, 0, payload)


def goaway(last: int = 0, code: int = Code.NO_ERROR, text: bytes = b"") -> bytes:
    return frame(Type.GOAWAY, 0, 0, struct.pack(">II", last, code) + text)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Type.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


# === field blocks (RFC 7541) ===

Fields = list[tuple[bytes, bytes]]


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """§5.1, with the pattern of the representation in `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def string(text: bytes) -> bytes:
    """§5.2, without Huffman coding."""
    return integer(len(text), 7) + text


def literal(name: bytes, value: bytes) -> bytes:
    """§6.2.2: a literal field without indexing, so that the dynamic table stays empty."""
    return b"\x00" + string(name) + string(value)


def indexed_literal(name: bytes, value: bytes) -> bytes:
    """§6.2.1: a literal field that enters the dynamic table."""
    return b"\x40" + string(name) + string(value)


def block(fields: Fields) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)
