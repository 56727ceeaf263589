"""RFC 9113 §6.5: SETTINGS."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import ACK, Code, Setting, Type, frame, settings
from .suite import http2


@http2.case
def SETTINGS_with_ACK_and_a_payload_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.5: an ACK with a payload is a connection error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.SETTINGS, ACK, 0, b"\0\3\0\0\0\1"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


@http2.case
def SETTINGS_on_a_stream_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.5: SETTINGS on another stream than 0 are a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.SETTINGS, 0, 1, b"\0\3\0\0\0\1"))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def SETTINGS_of_a_wrong_length_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.5: a length that is no multiple of 6 is a connection error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.SETTINGS, 0, 0, b"\0\3\0"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


@http2.case
def ENABLE_PUSH_other_than_0_or_1_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.5.2: ENABLE_PUSH is 0 or 1, else PROTOCOL_ERROR."""
    return refused(front, Setting.ENABLE_PUSH, 2, Code.PROTOCOL_ERROR)


@http2.case
def INITIAL_WINDOW_SIZE_above_the_largest_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.5.2: INITIAL_WINDOW_SIZE is at most 2^31-1, else FLOW_CONTROL_ERROR."""
    return refused(front, Setting.INITIAL_WINDOW_SIZE, 2**31, Code.FLOW_CONTROL_ERROR)


@http2.case
def MAX_FRAME_SIZE_below_the_least_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.5.2: MAX_FRAME_SIZE is at least 2^14, else PROTOCOL_ERROR."""
    return refused(front, Setting.MAX_FRAME_SIZE, 16383, Code.PROTOCOL_ERROR)


@http2.case
def MAX_FRAME_SIZE_above_the_largest_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.5.2: MAX_FRAME_SIZE is at most 2^24-1, else PROTOCOL_ERROR."""
    return refused(front, Setting.MAX_FRAME_SIZE, 2**24, Code.PROTOCOL_ERROR)


def refused(front: Front, setting: Setting, value: int, code: Code) -> str:
    with Connection.opened(front) as connection:
        connection.send(settings([(setting, value)]))
        return connection.expect_connection_error(code)


@http2.case
def the_last_of_several_values_counts(front: Front) -> str:
    """RFC 9113 §6.5.3: values are processed in the order in which they appear."""
    with Connection.opened(front) as connection:
        connection.credit = False
        connection.send(settings([(Setting.INITIAL_WINDOW_SIZE, 100), (Setting.INITIAL_WINDOW_SIZE, 1)]))
        connection.fence()
        stream = connection.request("/bytes/10")
        while (got := connection.read()).type != Type.DATA or got.stream != stream:
            pass
        if len(got.payload) != 1:
            raise Wrong(f"DATA of {len(got.payload)}")
        return "DATA of 1"


@http2.case
def a_table_size_of_0_is_honoured(front: Front) -> str:
    """RFC 9113 §6.5.2: after HEADER_TABLE_SIZE 0 was acknowledged the encoder keeps no dynamic table (RFC 7541 §4.2)."""
    with Connection.opened(front, [(Setting.HEADER_TABLE_SIZE, 0)]) as connection:
        connection.decoder.max_allowed_table_size = 0
        connection.decoder.header_table_size = 0
        for _ in range(3):
            connection.expect_answer(connection.request())
        return "200"


@http2.case
def larger_frames_come_only_where_they_are_allowed(front: Front) -> str:
    """RFC 9113 §4.2: no frame is larger than the peer's SETTINGS_MAX_FRAME_SIZE."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 1 << 20)]) as connection:
        stream = connection.request("/bytes/300000")
        largest = total = 0
        while True:
            got = connection.read()
            if got.type == Type.DATA:
                largest, total = max(largest, len(got.payload)), total + len(got.payload)
                if got.ends_stream:
                    break
            elif got.type == Type.RST_STREAM and got.stream == stream:
                break
        if largest > 16384 or total != 300000:
            raise Wrong(f"frames of {largest}, {total} bytes")
        return f"frames of {largest}"
