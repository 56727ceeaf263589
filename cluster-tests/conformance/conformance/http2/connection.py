"""A connection on frames: sends bytes as they are, reads frames, and tells what they mean for a case."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from dataclasses import dataclass, field

import hpack

from ..case import OtherCode, Wrong
from ..front import WAIT_SECONDS, Front
from ..upstream.http1 import TAG
from .frame import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY_FLAG,
    Code,
    Fields,
    Frame,
    Setting,
    Type,
    block,
    code_name,
    data,
    headers,
    ping,
    settings,
    window_update,
)

FENCE = b"fence\0\0\0"
LARGEST_WINDOW = 2**31 - 1


class Closed(Exception):
    """The subject closed the connection."""


class Silence(Exception):
    """Nothing came in time."""


@dataclass
class Answer:
    """What came on one stream, and how it ended."""

    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[str, str]] | None = None
    interim: list[int] = field(default_factory=list)
    ended: bool = False
    """By END_STREAM."""
    reset: int | None = None
    goaway: int | None = None
    closed: bool = False

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    def json(self) -> dict:
        return json.loads(self.body)

    def said(self) -> str:
        """In a few words."""
        words = [str(self.status)] if self.status else []
        if self.reset is not None:
            words.append(f"RST_STREAM {code_name(self.reset)}")
        if self.goaway is not None:
            words.append(f"GOAWAY {code_name(self.goaway)}")
        if self.closed and self.goaway is None:
            words.append("closed")
        if not self.is_over():
            words.append("silence")
        return ", ".join(words)

    def is_over(self) -> bool:
        return self.ended or self.closed or self.reset is not None or self.goaway is not None


class Connection:
    """Answers SETTINGS and PING by itself; gives credit only where `credit` is set."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.socket = front.dial()
        self.received = b""
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = 1 << 16
        self.server_settings: dict[int, int] = {}
        self.credit = True
        self.next_stream = 1
        self.given: dict[int, int] = {0: 65535}
        """What the windows of the server have been, by stream, without their initial size."""
        self.begun = b""
        self.begun_ends = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @classmethod
    def opened(cls, front: Front, values: list[tuple[int, int]] | None = None) -> Connection:
        """With the prefaces of both sides exchanged (RFC 9113 §3.4)."""
        connection = cls(front)
        try:
            connection.send(PREFACE, settings(values or []))
            acknowledged = False
            while not (acknowledged and connection.server_settings):
                got = connection.read()
                acknowledged |= got.type == Type.SETTINGS and got.has(ACK)
                if got.type == Type.SETTINGS and not got.has(ACK) and not got.payload:
                    connection.server_settings.setdefault(Setting.MAX_FRAME_SIZE, 16384)
            return connection
        except (Closed, Silence) as problem:
            connection.socket.close()
            raise Wrong(f"no HTTP/2 handshake: {type(problem).__name__.lower()}") from problem

    def take_stream(self) -> int:
        taken = self.next_stream
        self.next_stream += 2
        return taken

    # === sending ===

    def send(self, *frames: bytes) -> None:
        """What cannot be sent to a peer that has closed shows when it is read from."""
        try:
            self.socket.sendall(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError):
            pass
        except TimeoutError as problem:
            raise Wrong("takes nothing more, and says nothing") from problem

    def fields(self, path: str = "/echo", *more: tuple[bytes, bytes], method: str = "GET", tag: str = "") -> Fields:
        """Those of a plain request, and more."""
        plain = [
            (b":method", method.encode()),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", self.front.authority.encode()),
        ]
        if tag:
            plain.append((TAG.encode(), tag.encode()))
        return [*plain, *more]

    def request(self, path: str = "/echo", *more: tuple[bytes, bytes], method: str = "GET", tag: str = "", end: bool = True) -> int:
        """Opens a stream with a plain request; returns its number."""
        stream = self.take_stream()
        self.send(headers(stream, block(self.fields(path, *more, method=method, tag=tag)), end=end))
        return stream

    def upload(self, stream: int, frames: list[bytes]) -> None:
        """Sends DATA frames within the windows of the server, and ends the stream."""
        for sent in frames:
            size = len(sent) - 9
            while min(self.window(stream), self.given[0]) < size:
                try:
                    got = self.read()
                except (Closed, Silence) as problem:
                    raise Wrong(f"{type(problem).__name__.lower()} before the end of the upload") from problem
                if got.type == Type.GOAWAY or (got.type == Type.RST_STREAM and got.stream == stream):
                    raise Wrong(f"{Type(got.type).name} before the end of the upload")
            self.send(sent)
            self.given[0] -= size
            self.given[stream] = self.given.get(stream, 0) - size
        self.send(data(stream, end=True))

    def window(self, stream: int) -> int:
        return self.server_settings.get(Setting.INITIAL_WINDOW_SIZE, 65535) + self.given.get(stream, 0)

    # === reading ===

    def read(self, seconds: float = WAIT_SECONDS) -> Frame:
        """The next frame."""
        deadline = time.monotonic() + seconds
        while True:
            if len(self.received) >= 9:
                length = int.from_bytes(self.received[:3], "big")
                if len(self.received) >= 9 + length:
                    type, flags, stream = struct.unpack(">BBI", self.received[3:9])
                    got = Frame(type, flags, stream & 0x7FFFFFFF, self.received[9 : 9 + length])
                    self.received = self.received[9 + length :]
                    self.decode(got)
                    self.answer_by_itself(got)
                    return got
            self.receive(deadline - time.monotonic())

    def receive(self, seconds: float) -> None:
        if seconds <= 0 or not wait_for(self.socket, select.POLLIN, seconds):
            raise Silence
        try:
            more = self.socket.recv(1 << 18)
        except ConnectionResetError:
            more = b""
        if not more:
            raise Closed
        self.received += more

    def decode(self, got: Frame) -> None:
        """Every block must be decoded, whoever asks for it: the dynamic table is the connection's."""
        if got.type == Type.HEADERS:
            self.begun, self.begun_ends = unpadded(got), got.has(END_STREAM)
        elif got.type == Type.CONTINUATION:
            self.begun += got.payload
        elif got.type == Type.DATA:
            got.ends_stream = got.has(END_STREAM)
        if got.type in (Type.HEADERS, Type.CONTINUATION) and got.has(END_HEADERS):
            try:
                fields = self.decoder.decode(self.begun, raw=True)
            except hpack.HPACKError as problem:
                raise Wrong(f"a field block that cannot be decoded: {problem}") from problem
            got.fields = [(text(name), text(value)) for name, value in fields]
            got.ends_stream = self.begun_ends

    def answer_by_itself(self, got: Frame) -> None:
        if got.type == Type.SETTINGS and not got.has(ACK):
            for start in range(0, len(got.payload) - 5, 6):
                key, value = struct.unpack(">HI", got.payload[start : start + 6])
                self.server_settings[key] = value
            self.send(settings(ack=True))
        elif got.type == Type.WINDOW_UPDATE:
            self.given[got.stream] = self.given.get(got.stream, 0) + got.number()
        elif got.type == Type.PING and not got.has(ACK):
            self.send(ping(got.payload, ack=True))
        elif got.type == Type.DATA and got.payload and self.credit:
            self.send(window_update(0, len(got.payload)))
            if not got.has(END_STREAM):
                self.send(window_update(got.stream, len(got.payload)))

    def answer(self, stream: int, seconds: float = WAIT_SECONDS) -> Answer:
        """All of a stream's answer, or how it ended instead."""
        return self.answers([stream], seconds)[stream]

    def answers(self, streams: list[int], seconds: float = WAIT_SECONDS) -> dict[int, Answer]:
        answers = {stream: Answer() for stream in streams}
        open_ones = set(streams)
        while open_ones:
            try:
                got = self.read(seconds)
            except Closed:
                for stream in open_ones:
                    answers[stream].closed = True
                break
            except Silence:
                break
            if got.type == Type.GOAWAY:
                last, code = got.goaway()
                for stream in [stream for stream in open_ones if code or stream > last]:
                    answers[stream].goaway = code
                    open_ones.discard(stream)
            elif got.stream in answers:
                self.take(answers[got.stream], got)
                if answers[got.stream].is_over():
                    open_ones.discard(got.stream)
        return answers

    def take(self, answer: Answer, got: Frame) -> None:
        if got.fields is not None:
            self.take_fields(answer, got.fields)
        elif got.type == Type.DATA:
            answer.body += unpadded(got)
        elif got.type == Type.RST_STREAM:
            answer.reset = got.number()
        answer.ended |= got.ends_stream

    @staticmethod
    def take_fields(answer: Answer, fields: list[tuple[str, str]]) -> None:
        status = next((int(value) for name, value in fields if name == ":status"), None)
        if status is None:
            answer.trailers = fields
        elif status < 200:
            answer.interim.append(status)
        else:
            answer.status, answer.fields = status, fields

    # === what a case expects ===

    def expect_answer(self, stream: int, status: int = 200, seconds: float = WAIT_SECONDS) -> Answer:
        """A whole answer with that status."""
        answer = self.answer(stream, seconds)
        if answer.status != status or not (answer.ended or answer.reset == Code.NO_ERROR):
            raise Wrong(answer.said())
        return answer

    def expect_connection_error(self, *codes: Code) -> str:
        """GOAWAY with one of the codes, or, as §5.4.1 leaves it open, an end without a word."""
        seen = "no error"
        while True:
            try:
                got = self.read()
            except Closed:
                return "closed"
            except Silence:
                raise Wrong(seen) from None
            if got.type == Type.RST_STREAM:
                seen = f"RST_STREAM {code_name(got.number())}"
            if got.type == Type.GOAWAY:
                code = got.goaway()[1]
                if code not in codes:
                    raise (OtherCode if code else Wrong)(f"GOAWAY {code_name(code)}")
                return f"GOAWAY {code_name(code)}"

    def expect_stream_error(self, stream: int, *codes: Code, status: tuple[int, ...] = ()) -> str:
        """RST_STREAM with one of the codes, or the connection's error in its place (§5.4.2), or one of the statuses."""
        answer = Answer()
        while True:
            try:
                got = self.read()
            except Closed:
                return "closed"
            except Silence:
                raise Wrong(answer.said()) from None
            if got.type == Type.GOAWAY:
                code = got.goaway()[1]
                if code == Code.NO_ERROR and status:
                    continue  # what follows is the end that was announced
                if code not in codes:
                    raise (OtherCode if code else Wrong)(f"GOAWAY {code_name(code)}")
                return f"GOAWAY {code_name(code)}"
            if got.stream != stream:
                continue
            self.take(answer, got)
            if answer.reset is not None:
                if answer.reset not in codes and not (answer.status in status and answer.reset == Code.NO_ERROR):
                    raise (Wrong if answer.reset == Code.NO_ERROR or answer.status else OtherCode)(answer.said())
                return answer.said()
            if answer.ended:
                if answer.status not in status:
                    raise Wrong(answer.said())
                return answer.said()

    def expect_alive(self, note: str = "ignored") -> str:
        """The connection goes on: a PING is answered, and so is a request."""
        self.fence()
        self.expect_answer(self.request())
        return note

    def fence(self) -> list[Frame]:
        """Sends a PING and returns all that came before its answer: what was sent before has been looked at."""
        self.send(ping(FENCE))
        before: list[Frame] = []
        while True:
            try:
                got = self.read()
            except Closed:
                ended = next((got for got in before if got.type == Type.GOAWAY), None)
                raise Wrong(f"GOAWAY {code_name(ended.goaway()[1])}" if ended else "closed") from None
            except Silence:
                raise Wrong("PING without an answer") from None
            if got.type == Type.PING and got.has(ACK) and got.payload == FENCE:
                return before
            before.append(got)


def unpadded(got: Frame) -> bytes:
    payload = got.payload
    if got.has(PADDED):
        payload = payload[1 : len(payload) - payload[0]]
    if got.type == Type.HEADERS and got.has(PRIORITY_FLAG):
        payload = payload[5:]
    return payload


def wait_for(connection: socket.socket, events: int, seconds: float) -> int:
    """Which of the events came in time; by poll, since a run has more descriptors than select can name."""
    waiting = select.poll()
    waiting.register(connection, events)
    return next((seen for _, seen in waiting.poll(max(seconds, 0) * 1000)), 0)


def text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def end_hard(connection: socket.socket) -> None:
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
