"""RFC 9113 §3: starting HTTP/2."""

from __future__ import annotations

import time

from ...case import Wrong
from ...front import Front
from ...http2.connection import Closed, Connection, Silence
from ...http2.frame import ACK, PREFACE, Type, ping, settings
from .suite import http2


@http2.case
def the_first_frame_of_a_server_is_SETTINGS(front: Front) -> str:
    """RFC 9113 §3.4: the server's preface is a SETTINGS frame, the first that it sends."""
    with Connection(front) as connection:
        connection.send(PREFACE, settings())
        first = connection.read()
        if first.type != Type.SETTINGS or first.has(ACK):
            raise Wrong(f"frame of type {first.type}")
        return "SETTINGS"


@http2.case
def a_preface_in_pieces_is_taken(front: Front) -> str:
    """RFC 9113 §3.4: the preface is a sequence of octets, however TCP cuts it."""
    with Connection(front) as connection:
        for octet in PREFACE + settings():
            connection.send(bytes([octet]))
            time.sleep(0.002)
        connection.expect_answer(connection.request())
        return "200"


@http2.case
def a_request_in_one_piece_with_the_preface_is_answered(front: Front) -> str:
    """RFC 9113 §3.4: a client may send frames right behind its preface, without waiting for the server's."""
    with Connection(front) as connection:
        early, connection.send = [], lambda *frames: early.extend(frames)  # type: ignore[method-assign]
        stream = connection.request()
        del connection.send
        connection.send(PREFACE, settings(), *early)
        connection.expect_answer(stream)
        return "200"


@http2.case
def a_wrong_preface_ends_the_connection(front: Front) -> str:
    """RFC 9113 §3.4: an invalid preface is a connection error of type PROTOCOL_ERROR; GOAWAY may be left out."""
    with Connection(front) as connection:
        connection.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", settings())
        return ended_or_refused(connection)


@http2.case
def a_preface_without_SETTINGS_ends_the_connection(front: Front) -> str:
    """RFC 9113 §3.4: the client's preface is followed by SETTINGS; else it is invalid."""
    with Connection(front) as connection:
        connection.send(PREFACE, ping())
        return ended_or_refused(connection)


def ended_or_refused(connection: Connection) -> str:
    """Closed, with GOAWAY, with a refusal in HTTP/1.1 or with neither."""
    first = b""
    try:
        while True:
            connection.receive(5)
            first = first or connection.received[:12]
    except Closed:
        return "400 in HTTP/1.1, closed" if first.startswith(b"HTTP/1.1 400") else "closed"
    except Silence:
        raise Wrong("stays open") from None


@http2.case
def SETTINGS_are_acknowledged(front: Front) -> str:
    """RFC 9113 §6.5.3: the recipient emits SETTINGS with ACK, once for each."""
    with Connection.opened(front) as connection:
        connection.send(settings(), settings(), settings())
        acknowledged = 0
        try:
            while acknowledged < 3:
                got = connection.read()
                acknowledged += got.type == Type.SETTINGS and got.has(ACK)
        except (Closed, Silence):
            raise Wrong(f"{acknowledged} of 3") from None
        if any(got.type == Type.SETTINGS and got.has(ACK) for got in connection.fence()):
            raise Wrong("more than 3")
        return "3 of 3"
