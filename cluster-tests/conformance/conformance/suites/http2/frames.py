"""RFC 9113 §4 and §5.5: frames, their sizes, field blocks, and what is not known."""

from __future__ import annotations

from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import (
    END_HEADERS,
    Code,
    Setting,
    Type,
    block,
    continuation,
    data,
    frame,
    headers,
    ping,
    priority,
    settings,
)
from .suite import http2

LARGEST_FRAME = 2**24 - 1
"""What the length of a frame can tell; nothing is beyond it."""


@http2.case
def a_frame_of_an_unknown_type_is_ignored(front: Front) -> str:
    """RFC 9113 §4.1: frames of unknown types are ignored and discarded."""
    with Connection.opened(front) as connection:
        connection.send(frame(0x16, 0, 0, b"unknown!"), frame(0xF0, 0xFF, 0, b"unknown!"))
        return connection.expect_alive()


@http2.case
def undefined_flags_are_ignored(front: Front) -> str:
    """RFC 9113 §4.1: flags without a meaning for a type are ignored."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.PING, 0x16, 0, b"12345678"))
        return connection.expect_alive()


@http2.case
def the_reserved_bit_of_a_stream_is_ignored(front: Front) -> str:
    """RFC 9113 §4.1: the reserved bit is ignored when receiving."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.PING, 0, 1 << 31, b"12345678"))
        return connection.expect_alive()


@http2.case
def DATA_of_the_largest_size_is_taken(front: Front) -> str:
    """RFC 9113 §4.2: all implementations take frames of 2^14 octets."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(data(stream, b"x" * 16384, end=True))
        answer = connection.expect_answer(stream)
        return f"200, {answer.json()['length']} bytes"


@http2.case
def DATA_beyond_the_largest_size_is_refused(front: Front) -> str:
    """RFC 9113 §4.2: a frame beyond SETTINGS_MAX_FRAME_SIZE is an error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        if largest(connection) == LARGEST_FRAME:
            return "takes any frame"
        stream = connection.request(method="POST", end=False)
        connection.send(data(stream, b"x" * (largest(connection) + 1), end=True))
        return connection.expect_stream_error(stream, Code.FRAME_SIZE_ERROR)


@http2.case
def HEADERS_beyond_the_largest_size_end_the_connection(front: Front) -> str:
    """RFC 9113 §4.2: a frame size error in a frame that may alter the connection's state is a connection error."""
    with Connection.opened(front) as connection:
        if largest(connection) == LARGEST_FRAME:
            return "takes any frame"
        fields = connection.fields("/echo", (b"x-large", b"x" * (largest(connection) + 1)))
        connection.send(headers(1, block(fields)))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


def largest(connection: Connection) -> int:
    return connection.server_settings.get(Setting.MAX_FRAME_SIZE, 16384)


@http2.case
def PRIORITY_within_a_field_block_ends_the_connection(front: Front) -> str:
    """RFC 9113 §4.3: no other frame stands between HEADERS and its CONTINUATION."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), priority(1), continuation(1, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def PING_within_a_field_block_ends_the_connection(front: Front) -> str:
    """RFC 9113 §4.3: no frame of the connection stands between HEADERS and its CONTINUATION either."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), ping(), continuation(1, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def HEADERS_of_another_stream_within_a_field_block_end_the_connection(front: Front) -> str:
    """RFC 9113 §4.3: no frame of another stream stands between HEADERS and its CONTINUATION."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), headers(3, whole), continuation(1, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def an_unknown_frame_within_a_field_block_ends_the_connection(front: Front) -> str:
    """RFC 9113 §5.5: extension frames in the middle of a field block are a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        connection.send(headers(1, whole[:20], end_headers=False), frame(0x16, 0, 0, b"unknown!"), continuation(1, whole[20:]))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def an_unknown_setting_is_ignored(front: Front) -> str:
    """RFC 9113 §6.5.2: a setting with an unknown identifier is ignored."""
    with Connection.opened(front) as connection:
        connection.send(settings([(0xFF, 1)]))
        return connection.expect_alive()


@http2.case
def a_field_block_cut_anywhere_is_read(front: Front) -> str:
    """RFC 9113 §4.3: a field block is the concatenation of its fragments, even if one ends within a name or a length."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        for cut in range(1, 24):
            stream = connection.take_stream()
            first = headers(stream, whole[:cut], end_headers=False)
            connection.send(first, continuation(stream, whole[cut : cut + 1], end_headers=False), continuation(stream, whole[cut + 1 :]))
            connection.expect_answer(stream)
        return "200 for 23 cuts"


@http2.case
def a_short_field_block_in_a_dozen_frames_is_read_or_too_much(front: Front) -> str:
    """RFC 9113 §10.5: what is suspicious may be a connection error of type ENHANCE_YOUR_CALM; else it is read."""
    with Connection.opened(front) as connection:
        whole = block(connection.fields())
        pieces = [whole[at : at + 8] for at in range(0, len(whole), 8)]
        frames = [headers(1, pieces[0], end_headers=False)]
        frames += [continuation(1, piece, end_headers=False) for piece in pieces[1:-1]]
        connection.send(*frames, continuation(1, pieces[-1]))
        return connection.expect_stream_error(1, Code.ENHANCE_YOUR_CALM, status=(200,))


@http2.case
def an_empty_HEADERS_frame_with_CONTINUATION_is_read(front: Front) -> str:
    """RFC 9113 §6.10: a field block fragment may be empty."""
    with Connection.opened(front) as connection:
        connection.send(headers(1, b"", end_headers=False), frame(Type.CONTINUATION, END_HEADERS, 1, block(connection.fields())))
        connection.expect_answer(1)
        return "200"
