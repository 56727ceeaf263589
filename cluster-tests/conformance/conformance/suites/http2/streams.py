"""RFC 9113 §5: stream states, identifiers, concurrency, errors."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import Closed, Connection, Silence
from ...http2.frame import (
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
    rst_stream,
    window_update,
)
from .suite import http2

# === idle ===


@http2.case
def DATA_on_an_idle_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §5.1: on an idle stream anything but HEADERS and PRIORITY is a connection error; §6.1 leaves STREAM_CLOSED."""
    with Connection.opened(front) as connection:
        connection.send(data(1, b"early", end=True))
        return connection.expect_stream_error(1, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@http2.case
def RST_STREAM_on_an_idle_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.4: RST_STREAM on an idle stream is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(rst_stream(1))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def WINDOW_UPDATE_on_an_idle_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §5.1: on an idle stream anything but HEADERS and PRIORITY is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(window_update(1, 100))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def CONTINUATION_on_an_idle_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: CONTINUATION without HEADERS before it is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(continuation(1, block(connection.fields())))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


# === half-closed (remote) ===


@http2.case
def DATA_after_END_STREAM_is_refused(front: Front) -> str:
    """RFC 9113 §5.1: DATA on a half-closed (remote) stream is a stream error of type STREAM_CLOSED."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(data(stream, b"late", end=True))
        return connection.expect_stream_error(stream, Code.STREAM_CLOSED)


@http2.case
def HEADERS_after_END_STREAM_are_refused(front: Front) -> str:
    """RFC 9113 §5.1: HEADERS on a half-closed (remote) stream are a stream error of type STREAM_CLOSED."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(headers(stream, block([(b"x-late", b"1")])))
        return connection.expect_stream_error(stream, Code.STREAM_CLOSED)


@http2.case
def CONTINUATION_after_a_whole_block_ends_the_connection(front: Front) -> str:
    """RFC 9113 §6.10: CONTINUATION follows a frame without END_HEADERS, else PROTOCOL_ERROR (or STREAM_CLOSED by §5.1)."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(continuation(stream, block([(b"x-late", b"1")])))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@http2.case
def WINDOW_UPDATE_and_PRIORITY_after_END_STREAM_are_taken(front: Front) -> str:
    """RFC 9113 §5.1: a half-closed (remote) stream takes WINDOW_UPDATE, PRIORITY and RST_STREAM."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(window_update(stream, 10), priority(stream), rst_stream(stream))
        return connection.expect_alive()


# === closed ===


@http2.case
def DATA_after_RST_STREAM_is_refused_or_ignored(front: Front) -> str:
    """RFC 9113 §5.1: after it received RST_STREAM an endpoint may treat DATA as STREAM_CLOSED; it does not serve it."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(rst_stream(stream), data(stream, b"late", end=True))
        return refused_or_ignored(connection, stream)


@http2.case
def HEADERS_after_RST_STREAM_are_refused_or_ignored(front: Front) -> str:
    """RFC 9113 §5.1: after it received RST_STREAM an endpoint may treat HEADERS as STREAM_CLOSED; it does not serve them."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait", end=False)
        connection.send(rst_stream(stream), headers(stream, block([(b"x-late", b"1")])))
        return refused_or_ignored(connection, stream)


@http2.case
def DATA_on_a_stream_that_both_ended_is_refused_or_ignored(front: Front) -> str:
    """RFC 9113 §5.1: DATA on a closed stream is a connection error of type STREAM_CLOSED, or ignored for a while."""
    with Connection.opened(front) as connection:
        stream = connection.request()
        connection.expect_answer(stream)
        connection.send(data(stream, b"late", end=True))
        return refused_or_ignored(connection, stream)


@http2.case
def HEADERS_on_a_stream_that_both_ended_end_the_connection(front: Front) -> str:
    """RFC 9113 §5.1: HEADERS on a closed stream are a connection error of type STREAM_CLOSED (§5.1.1: or PROTOCOL_ERROR)."""
    with Connection.opened(front) as connection:
        stream = connection.request()
        connection.expect_answer(stream)
        connection.send(headers(stream, block(connection.fields())))
        return connection.expect_stream_error(stream, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)


@http2.case
def PRIORITY_on_a_closed_stream_is_taken(front: Front) -> str:
    """RFC 9113 §5.1: PRIORITY may come in any state."""
    with Connection.opened(front) as connection:
        stream = connection.request()
        connection.expect_answer(stream)
        connection.send(priority(stream))
        return connection.expect_alive()


@http2.case
def WINDOW_UPDATE_on_a_closed_stream_is_taken(front: Front) -> str:
    """RFC 9113 §6.9: WINDOW_UPDATE on a closed stream is no error: it was under way."""
    with Connection.opened(front) as connection:
        stream = connection.request()
        connection.expect_answer(stream)
        connection.send(window_update(stream, 10))
        return connection.expect_alive()


@http2.case
def RST_STREAM_on_a_closed_stream_is_taken(front: Front) -> str:
    """RFC 9113 §5.1: RST_STREAM may cross the end of a stream."""
    with Connection.opened(front) as connection:
        stream = connection.request()
        connection.expect_answer(stream)
        connection.send(rst_stream(stream))
        return connection.expect_alive()


def refused_or_ignored(connection: Connection, stream: int) -> str:
    connection.send(ping(b"fence\0\0\0"))
    while True:
        try:
            got = connection.read()
        except Closed:
            return "closed"
        except Silence:
            raise Wrong("silence") from None
        if got.type == Type.PING and got.payload == b"fence\0\0\0":
            return connection.expect_alive()
        if got.type == Type.GOAWAY or (got.type == Type.RST_STREAM and got.stream == stream):
            code = got.goaway()[1] if got.type == Type.GOAWAY else got.number()
            name = Type(got.type).name
            if code not in (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR, Code.NO_ERROR, Code.CANCEL):
                raise Wrong(f"{name} {code}")
            return f"{name} {Code(code).name}"
        if got.stream == stream:
            raise Wrong("serves the stream")


# === identifiers and concurrency ===


@http2.case
def an_even_stream_ends_the_connection(front: Front) -> str:
    """RFC 9113 §5.1.1: streams of a client are odd; else PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        connection.send(headers(2, block(connection.fields())))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def a_stream_below_the_last_one_ends_the_connection(front: Front) -> str:
    """RFC 9113 §5.1.1: a new stream is above all that were opened; else PROTOCOL_ERROR (a skipped one is closed: STREAM_CLOSED)."""
    with Connection.opened(front) as connection:
        connection.send(headers(5, block(connection.fields())))
        connection.expect_answer(5)
        connection.send(headers(3, block(connection.fields())))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


@http2.case
def a_skipped_stream_is_no_error(front: Front) -> str:
    """RFC 9113 §5.1.1: a stream that is used closes all idle ones below it."""
    with Connection.opened(front) as connection:
        connection.send(headers(101, block(connection.fields())))
        connection.expect_answer(101)
        return "200"


@http2.case
def streams_beyond_the_limit_are_refused(front: Front) -> str:
    """RFC 9113 §5.1.2: HEADERS beyond MAX_CONCURRENT_STREAMS are a stream error of PROTOCOL_ERROR or REFUSED_STREAM."""
    with Connection.opened(front) as connection:
        limit = connection.server_settings.get(Setting.MAX_CONCURRENT_STREAMS)
        if limit is None or limit > 1000:
            raise Wrong(f"limit: {limit or 'none'}")
        for _ in range(limit):
            connection.request("/wait")
        return f"limit {limit}, " + connection.expect_stream_error(connection.request(), Code.PROTOCOL_ERROR, Code.REFUSED_STREAM)


@http2.case
def as_many_streams_as_the_limit_are_served_at_once(front: Front) -> str:
    """RFC 9113 §5.1.2: what SETTINGS_MAX_CONCURRENT_STREAMS allows is taken."""
    with Connection.opened(front) as connection:
        limit = min(connection.server_settings.get(Setting.MAX_CONCURRENT_STREAMS, 100), 100)
        streams = [connection.request("/bytes/100") for _ in range(limit)]
        answers = connection.answers(streams, 10)
        good = sum(answer.status == 200 and answer.ended and len(answer.body) == 100 for answer in answers.values())
        if good != limit:
            raise Wrong(f"{good} of {limit}")
        return f"{good} of {limit}"


@http2.case
def a_stream_that_ended_makes_room_for_another(front: Front) -> str:
    """RFC 9113 §5.1.2: closed streams do not count."""
    with Connection.opened(front) as connection:
        for number in range(300):
            answer = connection.answer(connection.request("/bytes/1"))
            if answer.status != 200:
                raise Wrong(f"request {number}: {answer.said()}")
        return "300 in a row"


@http2.case
def a_stream_that_was_reset_makes_room_for_another(front: Front) -> str:
    """RFC 9113 §5.1.2: a stream that the client has reset is closed."""
    with Connection.opened(front) as connection:
        limit, tag = min(connection.server_settings.get(Setting.MAX_CONCURRENT_STREAMS, 100), 100), front.tag()
        waiting = [connection.request("/wait", tag=tag) for _ in range(limit)]
        front.upstream.await_seen(tag, lambda requests: len(requests) == limit)
        connection.send(*(rst_stream(stream) for stream in waiting))
        connection.fence()
        connection.expect_answer(connection.request())
        return "200"


# === errors ===


@http2.case
def a_stream_error_leaves_the_other_streams(front: Front) -> str:
    """RFC 9113 §5.4.2: a stream error is the stream's alone (an endpoint may make it the connection's, and then says so)."""
    with Connection.opened(front) as connection:
        bad = connection.take_stream()
        connection.send(headers(bad, block([*connection.fields(), (b"connection", b"close")])))
        good = connection.request()
        answer = connection.answers([bad, good])[good]
        if answer.status != 200:
            raise Wrong(answer.said())
        return "200 on the other"


@http2.case
def after_GOAWAY_the_connection_is_closed(front: Front) -> str:
    """RFC 9113 §5.4.1: after GOAWAY for an error the endpoint closes the TCP connection."""
    with Connection.opened(front) as connection:
        connection.send(headers(2, block(connection.fields())))
        try:
            while True:
                connection.read()
        except Closed:
            return "closed"
        except Silence:
            raise Wrong("stays open") from None


@http2.case
def PUSH_PROMISE_of_a_client_ends_the_connection(front: Front) -> str:
    """RFC 9113 §8.4: a client cannot push; PUSH_PROMISE is a connection error of type PROTOCOL_ERROR."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait", end=False)
        connection.send(frame(Type.PUSH_PROMISE, 4, stream, b"\0\0\0\2" + block(connection.fields())))
        return connection.expect_connection_error(Code.PROTOCOL_ERROR)


@http2.case
def an_unknown_error_code_in_RST_STREAM_is_taken(front: Front) -> str:
    """RFC 9113 §7: unknown error codes trigger no special behaviour."""
    with Connection.opened(front) as connection:
        stream = connection.request("/wait")
        connection.send(rst_stream(stream, 0xFF))
        return connection.expect_alive("taken")


@http2.case
def an_unknown_error_code_in_GOAWAY_is_taken(front: Front) -> str:
    """RFC 9113 §7: unknown error codes trigger no special behaviour; what is under way is answered or the connection ends."""
    with Connection.opened(front) as connection:
        connection.send(frame(Type.GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff"))
        connection.send(ping(b"fence\0\0\0"))
        try:
            while connection.read().type != Type.PING:
                pass
            return "PING answered"
        except Closed:
            return "closed"
        except Silence:
            raise Wrong("silence") from None
