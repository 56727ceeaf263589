"""RFC 9113 §6.9 and §5.2: WINDOW_UPDATE and flow control, in both directions."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import LARGEST_WINDOW, Closed, Connection, Silence
from ...http2.frame import Code, Frame, Setting, Type, data, frame, rst_stream, settings, window_update
from .suite import http2


@http2.case
def WINDOW_UPDATE_of_0_on_the_connection_ends_it(front: Front) -> str:
    """RFC 9113 §6.9: an increment of 0 for the connection is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(window_update(0, 0))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def WINDOW_UPDATE_of_0_on_a_stream_ends_the_stream(front: Front) -> str:
    """RFC 9113 §6.9: an increment of 0 for a stream is a stream error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(window_update(stream, 0))
        return connection.expect_stream_error(stream, Code.PROTOCOL_ERROR)


@http2.case
def WINDOW_UPDATE_of_a_wrong_length_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.9: a WINDOW_UPDATE of other than 4 octets is a connection error of type FRAME_SIZE_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.WINDOW_UPDATE, 0, 0, b"\0\0\1"))
        return connection.expect_connection_error(Code.FRAME_SIZE_ERROR)


@http2.case
def a_window_of_the_connection_beyond_the_largest_ends_it(front: Front) -> str:
    """RFC 9113 §6.9.1: a window above 2^31-1 is an error of type FLOW_CONTROL_ERROR: GOAWAY for the connection."""
    with Connection.opened(front) as connection:
        connection.send(window_update(0, LARGEST_WINDOW), window_update(0, LARGEST_WINDOW))
        return connection.expect_connection_error(Code.FLOW_CONTROL_ERROR)


@http2.case
def a_window_of_a_stream_beyond_the_largest_ends_the_stream(front: Front) -> str:
    """RFC 9113 §6.9.1: a window above 2^31-1 is an error of type FLOW_CONTROL_ERROR: RST_STREAM for a stream."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(window_update(stream, LARGEST_WINDOW), window_update(stream, LARGEST_WINDOW))
        return connection.expect_stream_error(stream, Code.FLOW_CONTROL_ERROR)


@http2.case
def SETTINGS_that_push_a_window_beyond_the_largest_end_the_connection(front: Front) -> str:
    """RFC 9113 §6.9.2: a change of INITIAL_WINDOW_SIZE that overflows a window is a connection error of type FLOW_CONTROL_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(window_update(stream, LARGEST_WINDOW - 65535), settings([(Setting.INITIAL_WINDOW_SIZE, 70000)]))
        return connection.expect_connection_error(Code.FLOW_CONTROL_ERROR)


@http2.case
def no_more_DATA_comes_than_the_stream_allows(front: Front) -> str:
    """RFC 9113 §6.9.1: a sender does not exceed the window, and goes on when it is given more."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 1)]) as connection:
        connection.credit = False
        stream = connection.request("/bytes/10")
        first = next_data(connection, stream)
        connection.send(window_update(stream, 9))
        rest = next_data(connection, stream)
        if (len(first.payload), len(rest.payload)) != (1, 9):
            raise Wrong(f"{len(first.payload)}, then {len(rest.payload)}")
        return "1, then 9"


@http2.case
def no_more_DATA_comes_than_the_connection_allows(front: Front) -> str:
    """RFC 9113 §6.9.1: the connection's window holds for all streams together."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 1 << 20)]) as connection:
        connection.credit = False
        streams = [connection.request("/bytes/50000") for _ in range(3)]
        total = 0
        while total < 65535:
            got = next_data(connection, *streams)
            total += len(got.payload)
        total += sum(len(got.payload) for got in connection.fence() if got.type == Type.DATA)
        if total != 65535:
            raise Wrong(f"{total} bytes")
        connection.send(window_update(0, 200000))
        while total < 150000:
            total += len(next_data(connection, *streams).payload)
        return "65535, then the rest"


@http2.case
def a_window_that_SETTINGS_change_counts_for_open_streams(front: Front) -> str:
    """RFC 9113 §6.9.2: a change of INITIAL_WINDOW_SIZE adjusts the windows of all streams."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 0)]) as connection:
        connection.credit = False
        stream = connection.request("/bytes/10")
        connection.fence()
        connection.send(settings([(Setting.INITIAL_WINDOW_SIZE, 1)]))
        got = next_data(connection, stream)
        if len(got.payload) != 1:
            raise Wrong(f"DATA of {len(got.payload)}")
        return "DATA of 1"


@http2.case
def a_window_below_0_is_tracked(front: Front) -> str:
    """RFC 9113 §6.9.2: a window may become negative, and nothing is sent until it is positive again."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 3)]) as connection:
        connection.credit = False
        stream = connection.request("/bytes/10")
        next_data(connection, stream)  # 3 of 3 are used
        connection.send(settings([(Setting.INITIAL_WINDOW_SIZE, 2)]))  # -1
        connection.fence()
        connection.send(window_update(stream, 1))  # 0
        if any(got.type == Type.DATA and got.payload for got in connection.fence()):
            raise Wrong("DATA beyond the window")
        connection.send(window_update(stream, 1))  # 1
        got = next_data(connection, stream)
        if len(got.payload) != 1:
            raise Wrong(f"DATA of {len(got.payload)}")
        return "DATA of 1"


@http2.case
def an_empty_answer_needs_no_window(front: Front) -> str:
    """RFC 9113 §6.9.1: frames of length 0 with END_STREAM may be sent without a window."""
    with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 0)]) as connection:
        connection.expect_answer(connection.request("/bytes/0"))
        return "200"


@http2.case
def a_stream_that_nobody_reads_stops_no_other(front: Front) -> str:
    """RFC 9113 §5.2: flow control of streams keeps one from blocking the others."""
    with Connection.opened(front) as connection:
        connection.credit = False
        connection.send(window_update(0, 1 << 24))
        for _ in range(10):
            connection.request("/bytes/1000000")
        for _ in range(20):
            stream = connection.request("/bytes/1000")
            answer = connection.answer(stream)
            if answer.status != 200 or len(answer.body) != 1000:
                raise Wrong(answer.said())
        return "20 served beside 10 stalled"


@http2.case
def a_reset_gives_the_connection_window_of_what_was_not_read_back(front: Front) -> str:
    """RFC 9113 §5.2.2: what was taken for the connection's window is given back, or uploads come to a halt."""
    with Connection.opened(front) as connection:
        for _ in range(100):
            stream = connection.request("/wait", method="POST", end=False)
            if connection.given[0] < 16000:
                connection.fence()
            if connection.given[0] < 16000:
                raise Wrong("the window is lost")
            connection.send(data(stream, b"x" * 16000), rst_stream(stream))
            connection.given[0] -= 16000
            connection.fence()
        stream = connection.request(method="POST", end=False)
        connection.upload(stream, [data(stream, b"x" * 10000)] * 20)
        connection.expect_answer(stream)
        return "200"


@http2.case
def a_long_upload_is_given_window_as_it_is_read(front: Front) -> str:
    """RFC 9113 §6.9: WINDOW_UPDATE follows what was consumed."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.upload(stream, [data(stream, b"x" * 16384)] * 64)
        length = connection.expect_answer(stream).json()["length"]
        if length != 1 << 20:
            raise Wrong(f"{length} bytes")
        return "1 MiB"


@http2.case
def DATA_beyond_the_window_is_refused(front: Front) -> str:
    """RFC 9113 §6.9.1: a receiver treats DATA beyond its window as an error of type FLOW_CONTROL_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/hold", method="POST", end=False)
        window = max(connection.server_settings.get(Setting.INITIAL_WINDOW_SIZE, 65535), 65535)
        most = window * 2 + (1 << 20)
        sent = 0
        while sent < most and sent < 64 << 20:
            connection.send(data(stream, b"x" * 16384))
            sent += 16384
        return connection.expect_stream_error(stream, Code.FLOW_CONTROL_ERROR)


def next_data(connection: Connection, *streams: int) -> Frame:
    """The next DATA that is not empty."""
    while True:
        try:
            got = connection.read()
        except Closed:
            raise Wrong("closed") from None
        except Silence:
            raise Wrong("no DATA") from None
        if got.type == Type.DATA and got.stream in streams and got.payload:
            return got
        if got.type in (Type.RST_STREAM, Type.GOAWAY):
            raise Wrong(Type(got.type).name)
