"""WebSocket through HTTP/1.1: with a real client and a real service, and by hand where bytes matter."""

from __future__ import annotations

import os
import socket
import time

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ..case import Suite, Wrong
from ..front import Front
from ..http2.connection import end_hard
from ..upstream.switching import accept_key, frame

SECONDS = 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

websocket = Suite("websocket", "WebSocket")


def expect(right: bool, did: str) -> None:
    if not right:
        raise Wrong(did)


def opened(front: Front, path: str = "/ws/echo", **more) -> ClientConnection:
    try:
        return connect(f"ws://{front.authority}{path}", max_size=32 << 20, open_timeout=SECONDS, close_timeout=SECONDS, **more)
    except InvalidStatus as problem:
        raise Wrong(f"{problem.response.status_code} in place of 101") from problem


def echoed(connection: ClientConnection, message: str | bytes) -> None:
    connection.send(message)
    got = connection.recv(timeout=SECONDS)
    expect(got == message, f"another message of {len(got)}")


# === with a client that knows WebSocket ===


@websocket.case
def a_handshake_and_an_echo(front: Front) -> str:
    """RFC 6455 §4: the handshake goes through, and so does a message."""
    with opened(front) as connection:
        echoed(connection, "hello")
        return "101"


@websocket.case
def messages_of_all_sizes(front: Front) -> str:
    """RFC 6455 §5.2: lengths of 7, 16 and 64 bits, on both sides of each border, up to 1 MiB."""
    with opened(front, compression=None) as connection:
        for size in (0, 1, 125, 126, 127, 128, 1000, 65535, 65536, 65537, 1 << 20):
            echoed(connection, os.urandom(size))
        return "0 to 1 MiB"


@websocket.case
def a_message_of_16_MiB(front: Front) -> str:
    """RFC 6455 §5.2: longer than any buffer."""
    with opened(front, compression=None) as connection:
        echoed(connection, bytes(16 << 20))
        return "16 MiB"


@websocket.case
def text_of_all_planes(front: Front) -> str:
    """RFC 6455 §8.1: text is UTF-8, and no intermediary touches it."""
    with opened(front) as connection:
        echoed(connection, "aäß€𝄞\u0000\uffff")
        return "the same text"


@websocket.case
def messages_in_fragments(front: Front) -> str:
    """RFC 6455 §5.4: a message may come in frames."""
    with opened(front, compression=None) as connection:
        connection.send(iter(["frag", "", "men", "ted"]))
        expect(connection.recv(timeout=SECONDS) == "fragmented", "another message")
        return "4 frames"


@websocket.case
def a_thousand_messages_in_a_row(front: Front) -> str:
    """RFC 6455 §1.2: messages keep their order."""
    with opened(front) as connection:
        for number in range(1000):
            connection.send(str(number))
        got = [connection.recv(timeout=SECONDS) for _ in range(1000)]
        expect(got == [str(number) for number in range(1000)], "another order")
        return "1000"


@websocket.case
def pings_are_answered_from_end_to_end(front: Front) -> str:
    """RFC 6455 §5.5.2: a Ping is answered by the peer with its data."""
    with opened(front) as connection:
        expect(connection.ping(b"are you there").wait(SECONDS), "no pong")
        return "pong"


@websocket.case
def permessage_deflate_is_the_peers_own(front: Front) -> str:
    """RFC 7692: extensions are agreed by the ends; a gateway passes their fields and their bits."""
    with opened(front) as connection:
        extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        expect("permessage-deflate" in extensions, f"extensions: {extensions or 'none'}")
        echoed(connection, "x" * 100000)
        return "agreed"


@websocket.case
def a_subprotocol_is_agreed(front: Front) -> str:
    """RFC 6455 §1.9: Sec-WebSocket-Protocol goes both ways."""
    with opened(front, subprotocols=["other", "chat"]) as connection:
        expect(connection.subprotocol == "chat", f"{connection.subprotocol}")
        return "chat"


@websocket.case
def a_close_of_the_client_comes_back(front: Front) -> str:
    """RFC 6455 §7.1: Close is answered by Close, with its code."""
    with opened(front) as connection:
        connection.close(4321, "done")
        got = connection.protocol.close_rcvd
        expect(got is not None and got.code == 4321, f"{got}")
        return "4321"


@websocket.case
def a_close_of_the_service_comes_with_its_code(front: Front) -> str:
    """RFC 6455 §7.4: the codes are the peers'."""
    for code in (1000, 1001, 1011, 3000, 4999):
        with opened(front, f"/ws/close/{code}") as connection:
            try:
                connection.recv(timeout=SECONDS)
                raise Wrong("a message")
            except ConnectionClosed as problem:
                got = problem.rcvd
                expect(got is not None and got.code == code and got.reason == "as asked", f"{got} for {code}")
    return "5 codes"


@websocket.case
def a_refusal_of_the_service_is_passed_on(front: Front) -> str:
    """RFC 6455 §4.2.2: a service may answer any other status; it is an ordinary answer."""
    try:
        connect(f"ws://{front.authority}/ws/refuse", open_timeout=SECONDS).close()
    except InvalidStatus as problem:
        body = problem.response.body or b""
        expect(problem.response.status_code == 403 and body == b"not for you\n", f"{problem.response.status_code} {body!r}")
        return "403 with its body"
    raise Wrong("101")


@websocket.case
def a_hundred_sockets_at_once(front: Front) -> str:
    """RFC 6455 §1.2: sockets know nothing of each other."""
    connections = [opened(front) for _ in range(100)]
    for number, connection in enumerate(connections):
        connection.send(str(number))
    for number, connection in enumerate(connections):
        expect(connection.recv(timeout=SECONDS) == str(number), "another socket's message")
    for connection in connections:
        connection.close()
    return "100"


# === by hand, byte by byte ===


class Raw:
    """A handshake by hand, and what comes after."""

    def __init__(self, front: Front, path: str, more: str = "", behind: bytes = b"") -> None:
        self.socket = front.dial()
        self.received = b""
        self.socket.sendall(handshake(front, path, more) + behind)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def head(self) -> str:
        """The answer's head, as text."""
        while b"\r\n\r\n" not in self.received:
            if not self.receive():
                raise Wrong(f"closed after {len(self.received)} bytes")
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    def switched(self) -> Raw:
        head = self.head()
        expect(head.startswith("HTTP/1.1 101"), head.split("\r\n")[0])
        return self

    def exactly(self, wanted: bytes) -> None:
        while len(self.received) < len(wanted):
            if not self.receive():
                break
        got, self.received = self.received[: len(wanted)], self.received[len(wanted) :]
        expect(got == wanted, f"{got[:40]!r} for {wanted[:40]!r}")

    def rest(self) -> bytes:
        """All until the end."""
        while self.receive():
            pass
        rest, self.received = self.received, b""
        return rest

    def receive(self) -> bool:
        try:
            more = self.socket.recv(1 << 16)
        except TimeoutError as problem:
            raise Wrong("silence") from problem
        except ConnectionResetError:
            return False
        self.received += more
        return bool(more)


def handshake(front: Front, path: str, more: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {front.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    ).encode()


def masked(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """A short frame of a client (RFC 6455 §5.3)."""
    mask = os.urandom(4)
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + mask + bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))


@websocket.case
def the_101_has_the_fields_of_the_handshake(front: Front) -> str:
    """RFC 6455 §4.2.2: Upgrade, Connection and the right Sec-WebSocket-Accept reach the client."""
    with Raw(front, "/switch/bytes") as raw:
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in raw.head().split("\r\n")[1:])}
        expect(fields.get("upgrade", "").lower() == "websocket", f"Upgrade: {fields.get('upgrade')}")
        expect("upgrade" in fields.get("connection", "").lower(), f"Connection: {fields.get('connection')}")
        expect(fields.get("sec-websocket-accept") == accept_key(KEY), "another Sec-WebSocket-Accept")
        return "all three"


@websocket.case
def bytes_right_behind_the_101_are_kept(front: Front) -> str:
    """RFC 9110 §7.8: the service may speak at once after the 101, in the same segment."""
    for _ in range(20):
        with Raw(front, "/switch/greeting") as raw:
            raw.switched().exactly(frame(1, b"hello"))
    return "20 times"


@websocket.case
def bytes_right_behind_the_request_are_kept(front: Front) -> str:
    """RFC 6455 §4.1: a client waits for the 101, but what it sent early is not lost or reordered where it is taken."""
    with Raw(front, "/switch/slow", behind=b"early") as raw:
        raw.switched()
        raw.socket.sendall(b" late")
        raw.exactly(b"early late")
    return "kept"


@websocket.case
def bytes_in_tiny_pieces_go_through(front: Front) -> str:
    """RFC 6455 §5.2: a tunnel knows no frames; a byte is passed on as it comes."""
    with Raw(front, "/switch/bytes") as raw:
        raw.switched()
        for octet in masked(1, b"slowly"):
            raw.socket.sendall(bytes([octet]))
            raw.exactly(bytes([octet]))
        return "byte by byte"


@websocket.case
def a_handshake_in_tiny_pieces_goes_through(front: Front) -> str:
    """RFC 9112 §2.2: a request is a sequence of octets, however TCP cuts it."""
    with Raw.__new__(Raw) as raw:
        raw.socket, raw.received = front.dial(), b""
        for octet in handshake(front, "/switch/greeting"):
            raw.socket.sendall(bytes([octet]))
        raw.switched().exactly(frame(1, b"hello"))
        return "101"


@websocket.case
def a_client_that_closes_its_side_still_hears(front: Front) -> str:
    """RFC 9293 §3.6: FIN ends one direction; the service sees it, and what it says afterwards arrives."""
    with Raw(front, "/switch/bytes") as raw:
        raw.switched()
        raw.socket.sendall(b"last words")
        raw.socket.shutdown(socket.SHUT_WR)
        rest = raw.rest()
        expect(rest == b"last wordsgoodbye", f"{rest!r}")
        return "goodbye"


@websocket.case
def a_service_that_closes_its_side_still_hears(front: Front) -> str:
    """RFC 9293 §3.6: the same the other way round."""
    tag = front.tag()
    with Raw(front, "/switch/farewell", f"x-case: {tag}\r\n") as raw:
        raw.switched()
        rest = raw.rest()
        expect(rest == b"farewell", f"{rest!r}")
        try:
            raw.socket.sendall(b"x" * 1000)
            raw.socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise Wrong("closed in both directions") from None
        seen = front.upstream.await_seen(tag, lambda requests: any(request.complete for request in requests))
        got = seen[0].length if seen else 0
        expect(got == 1000, f"{got} of 1000 bytes")
        return "1000 bytes"


@websocket.case
def a_reset_of_the_client_ends_the_tunnel(front: Front) -> str:
    """RFC 9293 §3.10.7: a reset ends both directions; the service is not left behind."""
    tag = front.tag()
    raw = Raw(front, "/switch/farewell", f"x-case: {tag}\r\n")
    raw.switched().exactly(b"farewell")
    end_hard(raw.socket)
    ended = front.upstream.await_seen(tag, lambda requests: any(request.complete or request.gone for request in requests))
    expect(bool(ended) and (ended[0].complete or ended[0].gone), "the service is left behind")
    return "ended"


@websocket.case
def a_reset_of_the_service_ends_the_tunnel(front: Front) -> str:
    """RFC 9293 §3.10.7: a reset ends both directions; the client is not left waiting."""
    with Raw(front, "/switch/reset") as raw:
        raw.switched()
        raw.socket.sendall(b"x")
        raw.rest()
        return "ended"


@websocket.case
def a_refusal_with_bytes_behind_is_no_tunnel(front: Front) -> str:
    """CVE-2026-2833: what follows a handshake that the service refuses is a request, or the connection ends: never the service's."""
    tag = front.tag()
    behind = f"GET /echo HTTP/1.1\r\nHost: a.example\r\nx-case: {tag}\r\n\r\n".encode()
    with Raw(front, "/switch/refused", behind=behind) as raw:
        head = raw.head()
        expect(" 403 " in head.split("\r\n")[0], head.split("\r\n")[0])
        time.sleep(0.2)
        seen = front.upstream.seen(tag)
        # By the proxy's own reading it is one request with the proxy's own fields; raw bytes would have gone to the refusing service.
        return "served as a request" if seen else "never read"


@websocket.case
def a_101_with_a_length_has_no_body(front: Front) -> str:
    """RFC 9110 §15.2: an interim answer has no content; Content-Length in a 101 frames nothing."""
    with Raw(front, "/switch/framed") as raw:
        raw.switched().exactly(frame(1, b"hello"))
        raw.socket.sendall(b"0123456789")
        raw.exactly(b"0123456789")
        return "ignored"


@websocket.case
def a_101_to_another_protocol_is_no_tunnel(front: Front) -> str:
    """RFC 9110 §7.8: a server switches to a protocol that was offered; another one is a 502."""
    with Raw(front, "/switch/other") as raw:
        line = raw.head().split("\r\n")[0]
        expect(" 502 " in line, line)
        return "502"


@websocket.case
def a_101_that_nobody_asked_for_is_no_tunnel(front: Front) -> str:
    """RFC 9110 §15.2.2: 101 answers an Upgrade; without one it is a 502."""
    with front.dial() as connection:
        connection.sendall(f"GET /switch/unasked HTTP/1.1\r\nHost: {front.authority}\r\n\r\n".encode())
        try:
            line = connection.recv(1000).split(b"\r\n")[0].decode()
        except TimeoutError:
            raise Wrong("silence") from None
        expect(" 502 " in line, line or "closed")
        return "502"


@websocket.case
def a_handshake_that_offers_another_protocol_too(front: Front) -> str:
    """RFC 9110 §7.8: Upgrade is a list, in any letter case."""
    with Raw.__new__(Raw) as raw:
        raw.socket, raw.received = front.dial(), b""
        request = handshake(front, "/switch/greeting").replace(b"Upgrade: websocket", b"Upgrade: WebSocket").replace(b"Connection: Upgrade", b"Connection: keep-alive, UPGRADE")
        raw.socket.sendall(request)
        raw.switched().exactly(frame(1, b"hello"))
        return "101"


@websocket.case
def Upgrade_without_Connection_is_a_plain_request(front: Front) -> str:
    """RFC 9110 §7.8: Upgrade counts only where Connection names it."""
    with front.dial() as connection:
        connection.sendall(handshake(front, "/echo").replace(b"Connection: Upgrade\r\n", b""))
        answer = b""
        while b"}" not in answer and (more := connection.recv(1 << 16)):
            answer += more
        line = answer.split(b"\r\n")[0].decode()
        expect(" 200 " in line, line)
        return "200"


@websocket.case
def a_handshake_of_HTTP_1_0_is_no_tunnel(front: Front) -> str:
    """RFC 9110 §7.8: a server ignores Upgrade in an HTTP/1.0 request."""
    with front.dial() as connection:
        connection.sendall(handshake(front, "/switch/greeting").replace(b"HTTP/1.1", b"HTTP/1.0"))
        try:
            line = connection.recv(1000).split(b"\r\n")[0].decode()
        except TimeoutError:
            raise Wrong("silence") from None
        expect(" 101 " not in line, line)
        return line.removeprefix("HTTP/1.1 ").removeprefix("HTTP/1.0 ")[:40] or "closed"


@websocket.case
def a_slow_reader_stops_the_sender(front: Front) -> str:
    """RFC 9293 §3.8: a tunnel holds little; who does not read slows the other side down, and nothing is lost."""
    with Raw(front, "/switch/bytes") as raw:
        raw.switched()
        raw.socket.setblocking(False)
        sent = 0
        stalled = 0
        while stalled < 20 and sent < 256 << 20:
            try:
                sent += raw.socket.send(bytes(1 << 16))
                stalled = 0
            except BlockingIOError:
                stalled += 1
                time.sleep(0.05)
        expect(stalled > 0, f"{sent >> 20} MiB taken")
        raw.socket.settimeout(SECONDS)
        got = 0
        raw.socket.shutdown(socket.SHUT_WR)
        while more := raw.socket.recv(1 << 20):
            got += len(more)
        expect(got == sent + len(b"goodbye"), f"{got} of {sent} bytes")
        return f"stops at {sent >> 20} MiB"
