"""RFC 9113 §6: DATA, HEADERS, PRIORITY, RST_STREAM, PING, GOAWAY, CONTINUATION."""

from __future__ import annotations

import struct

from ...case import Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITY_FLAG,
    Code,
    Type,
    block,
    continuation,
    data,
    frame,
    goaway,
    headers,
    ping,
    priority,
    rst_stream,
)
from .suite import http2

# === DATA ===


@http2.case
def DATA_on_stream_0_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.1: DATA belongs to a stream; on 0 it is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(data(0, b"test", end=True))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def padding_of_DATA_is_no_body(front: Front) -> str:
    """RFC 9113 §6.1: padding is not passed on."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(frame(Type.DATA, END_STREAM | PADDED, stream, b"\x05hello" + b"\0" * 5))
        length = connection.expect_answer(stream).json()["length"]
        if length != 5:
            raise Wrong(f"{length} bytes")
        return "5 bytes"


@http2.case
def DATA_that_is_all_padding_is_taken(front: Front) -> str:
    """RFC 9113 §6.1: the padding may fill the frame but for its length."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(frame(Type.DATA, PADDED, stream, b"\xff" + b"\0" * 255), data(stream, b"hello", end=True))
        length = connection.expect_answer(stream).json()["length"]
        if length != 5:
            raise Wrong(f"{length} bytes")
        return "5 bytes"


@http2.case
def DATA_with_more_padding_than_payload_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.1: padding as long as the payload or longer is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait", method="POST", end=False)
        connection.send(frame(Type.DATA, END_STREAM | PADDED, stream, b"\x06hello"))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def padding_counts_for_flow_control(front: Front) -> str:
    """RFC 9113 §6.9.1: padding counts against the window, and the window is given back for it."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.upload(stream, [frame(Type.DATA, PADDED, stream, b"\xfe" + b"\0" * 255)] * 1200)
        connection.expect_answer(stream)
        return "1200 frames of padding"


# === HEADERS ===


@http2.case
def HEADERS_on_stream_0_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.2: HEADERS belong to a stream; on 0 they are a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(headers(0, block(connection.fields())))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def padding_and_priority_of_HEADERS_are_no_fields(front: Front) -> str:
    """RFC 9113 §6.2: PADDED and PRIORITY may stand together."""
    with Connection.opened(front) as connection:
        fields = block(connection.fields())
        payload = b"\x08" + struct.pack(">IB", 0, 15) + fields + b"\0" * 8
        connection.send(frame(Type.HEADERS, END_STREAM | END_HEADERS | PADDED | PRIORITY_FLAG, 1, payload))
        connection.expect_answer(1)
        return "200"


@http2.case
def HEADERS_with_more_padding_than_payload_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.2: padding that leaves no room for the fragment is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        fields = block(connection.fields())
        payload = bytes([255]) + fields[:200]
        connection.send(frame(Type.HEADERS, END_STREAM | END_HEADERS | PADDED, 1, payload))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def HEADERS_too_short_for_their_flags_end_the_connection(front: Front) -> str:
    """RFC 9113 §4.2: a frame too small for its mandatory data is an error of type FRAME_SIZE_ERROR (or PROTOCOL_ERROR, §6.2)."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.HEADERS, END_STREAM | END_HEADERS | PRIORITY_FLAG, 1, b"\0\0"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR)


# === PRIORITY ===


@http2.case
def PRIORITY_is_ignored(front: Front) -> str:
    """RFC 9113 §5.3.2: priority signals in the frame need no answer and change nothing."""
    with Connection.opened(front) as connection:
        connection.send(priority(1, 0, 255), priority(3, 1), priority(5, 0x80000001))
        return connection.expect_alive()


@http2.case
def PRIORITY_on_stream_0_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.3: PRIORITY on stream 0 is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(priority(0))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def PRIORITY_of_a_wrong_length_is_refused(front: Front) -> str:
    """RFC 9113 §6.3: a PRIORITY of other than 5 octets is a stream error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(frame(Type.PRIORITY, 0, stream, b"\0\0\0\0"))
        return connection.expect_stream_error(stream, Code.FRAME_SIZE_ERROR)


# === RST_STREAM ===


@http2.case
def RST_STREAM_on_stream_0_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.4: RST_STREAM on stream 0 is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(rst_stream(0))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def RST_STREAM_of_a_wrong_length_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.4: RST_STREAM of other than 4 octets is a connection error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(frame(Type.RST_STREAM, 0, stream, b"\0\0\0"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


# === PING ===


@http2.case
def PING_is_answered_with_its_payload(front: Front) -> str:
    """RFC 9113 §6.7: the answer has ACK and the identical payload."""
    with Connection.opened(front) as connection:
        connection.send(ping(b"\0\1\2\3\xfc\xfd\xfe\xff"))
        while (got := connection.read()).type != Type.PING:
            pass
        if not got.has(ACK) or got.payload != b"\0\1\2\3\xfc\xfd\xfe\xff":
            raise Wrong("another payload")
        return "answered"


@http2.case
def PING_with_ACK_is_not_answered(front: Front) -> str:
    """RFC 9113 §6.7: a PING with ACK is no question."""
    with Connection.opened(front) as connection:
        connection.send(ping(b"unasked!", ack=True))
        if any(got.type == Type.PING for got in connection.fence()):
            raise Wrong("answered")
        return "ignored"


@http2.case
def PING_on_a_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.7: PING on another stream than 0 is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.PING, 0, 1, b"12345678"))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def PING_of_a_wrong_length_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.7: PING of other than 8 octets is a connection error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.PING, 0, 0, b"123456"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


# === GOAWAY ===


@http2.case
def GOAWAY_on_a_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.8: GOAWAY on another stream than 0 is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.GOAWAY, 0, 1, b"\0" * 8))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def what_is_under_way_is_answered_after_GOAWAY_of_the_client(front: Front) -> str:
    """RFC 9113 §6.8: GOAWAY of a client is about streams of the server; its own go on."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(goaway(0, Code.NO_ERROR), data(stream, b"hello", end=True))
        connection.expect_answer(stream)
        return "200"


# === CONTINUATION ===


@http2.case
def several_CONTINUATION_frames_are_read(front: Front) -> str:
    """RFC 9113 §6.10: any number of CONTINUATION frames may follow."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields("/echo", (b"x-dummy", b"a" * 3000)))
        connection.send(
            headers(1, whole[:1000], end_headers=False),
            continuation(1, whole[1000:2000], end_headers=False),
            continuation(1, whole[2000:]),
        )
        connection.expect_answer(1)
        return "200"


@http2.case
def DATA_after_an_open_field_block_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: a block without END_HEADERS is followed by CONTINUATION of the same stream."""
    with Connection.opened(front) as connection:
        connection.send(headers(1, block(connection.fields()), end=False, end_headers=False), data(1, b"test", end=True))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def CONTINUATION_on_stream_0_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: CONTINUATION on stream 0 is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), continuation(0, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def CONTINUATION_on_another_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: CONTINUATION is of the same stream as what it continues."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), continuation(3, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def CONTINUATION_after_a_last_CONTINUATION_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: nothing continues a block that END_HEADERS has ended."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields("/wait"))
        connection.send(
            headers(1, whole[:20], end_headers=False),
            continuation(1, whole[20:]),
            continuation(1, block([(b"x-late", b"1")])),
        )
        return connection.expect_connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@http2.case
def CONTINUATION_after_DATA_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: CONTINUATION follows HEADERS, PUSH_PROMISE or CONTINUATION."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait", method="POST", end=False)
        connection.send(data(stream, b"test"), continuation(stream, block([(b"x-late", b"1")])))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)
