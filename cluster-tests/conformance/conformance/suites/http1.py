"""HTTP/1.1 on raw bytes: framing that two readers could read in two ways, and plain forwarding."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

from ..case import Suite, Wrong
from ..front import Front
from ..http2.connection import end_hard
from ..upstream.http1 import Request, pattern

http1 = Suite("http1", "HTTP/1.1")


@dataclass
class Got:
    """All that came on a connection until it was closed or said no more."""

    raw: bytes
    closed: bool

    def statuses(self) -> list[int]:
        """Of all answers on the connection; no body of this suite's services has a status line in it."""
        return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", self.raw)]

    def said(self) -> str:
        words = [str(status) for status in self.statuses()] or ["nothing"]
        return ", ".join([*words, "closed"] if self.closed else words)


def exchange(front: Front, *pieces: bytes, quiet: float = 1.0) -> Got:
    """Sends pieces and reads until the end, or until nothing has come for a while after something had."""
    raw = b""
    with front.dial() as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
        try:
            while more := connection.recv(1 << 18):
                raw += more
                connection.settimeout(quiet)
            return Got(raw, True)
        except TimeoutError:
            return Got(raw, False)
        except ConnectionResetError:
            return Got(raw, True)


def request(front: Front, first: str, *lines: str, tag: str = "", body: bytes = b"") -> bytes:
    fields = [f"Host: {front.authority}", *([f"x-case: {tag}"] if tag else []), *lines]
    return "\r\n".join([first, *fields, "", ""]).encode("latin-1") + body


def refused(front: Front, sent: bytes, tag: str, *also: int) -> str:
    """Answered 400 (or another of the statuses), or closed at once; the service sees nothing whole of it."""
    got = exchange(front, sent)
    seen = [seen for seen in front.upstream.seen(tag) if seen.complete]
    if seen:
        raise Wrong(f"{got.said()}, forwarded")
    statuses = got.statuses()
    if not (statuses and statuses[0] in (400, *also)) and not (got.closed and not statuses):
        raise Wrong(got.said())
    return got.said()


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: smuggled.example\r\nx-case: {tag}-inner\r\n\r\n"


def never_two(front: Front, sent: bytes, tag: str) -> str:
    """Refused, or forwarded in one reading: never may the body be taken for a request of its own."""
    got = exchange(front, sent)
    inner = front.upstream.await_seen(f"{tag}-inner", seconds=0.1)
    if inner:
        raise Wrong(f"{got.said()}, the body became a request")
    return got.said()


def forwarded(front: Front, tag: str) -> Request:
    seen = front.upstream.await_seen(tag)
    if not seen:
        raise Wrong("not forwarded")
    return seen[0]


# === framing ===


@http1.case
def two_lengths_that_differ_are_refused(front: Front) -> str:
    """RFC 9112 §6.3: a message with several Content-Length values that differ is refused with 400."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Content-Length: 4", "Content-Length: 5", tag=tag, body=b"12345"), tag)


@http1.case
def a_length_with_a_sign_is_refused(front: Front) -> str:
    """RFC 9110 §8.6: Content-Length is digits alone."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Content-Length: +4", tag=tag, body=b"1234"), tag)


@http1.case
def an_empty_length_is_refused(front: Front) -> str:
    """RFC 9110 §8.6: Content-Length has one digit at least (CVE-2023-40225)."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Content-Length:", "Content-Length: 4", tag=tag, body=b"1234"), tag)


@http1.case
def a_length_beside_chunked_makes_no_second_request(front: Front) -> str:
    """RFC 9112 §6.3: Transfer-Encoding overrides Content-Length; the connection ends, or it is a 400."""
    tag = front.tag()
    body = b"0\r\n\r\n" + SMUGGLED.format(tag=tag).encode()
    sent = request(front, "POST /echo HTTP/1.1", f"Content-Length: {len(body)}", "Transfer-Encoding: chunked", tag=tag, body=body)
    return never_two(front, sent, tag)


@http1.case
def chunked_under_another_name_is_refused(front: Front) -> str:
    """RFC 9112 §6.1: a transfer coding that is not known is a 400 or 501."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: xchunked", tag=tag, body=b"0\r\n\r\n"), tag, 501)


@http1.case
def chunked_that_is_not_last_is_refused(front: Front) -> str:
    """RFC 9112 §6.3: a request whose last transfer coding is not chunked has no length that can be told."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: chunked, gzip", tag=tag, body=b"0\r\n\r\n"), tag, 501)


@http1.case
def chunked_in_HTTP_1_0_makes_no_second_request(front: Front) -> str:
    """RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0 is faulty framing."""
    tag = front.tag()
    body = b"0\r\n\r\n" + SMUGGLED.format(tag=tag).encode()
    return never_two(front, request(front, "POST /echo HTTP/1.0", "Transfer-Encoding: chunked", tag=tag, body=body), tag)


@http1.case
def a_chunk_size_with_a_sign_is_refused(front: Front) -> str:
    """RFC 9112 §7.1: a chunk size is hexadecimal digits alone (CVE-2023-38697)."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: chunked", tag=tag, body=b"+4\r\n1234\r\n0\r\n\r\n"), tag, 502)


@http1.case
def a_chunk_size_beyond_64_bits_is_refused(front: Front) -> str:
    """RFC 9112 §7.1: a recipient must anticipate large sizes and prevent overflow."""
    tag = front.tag()
    body = b"10000000000000004\r\n1234\r\n0\r\n\r\n"
    return refused(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: chunked", tag=tag, body=body), tag, 413, 502)


@http1.case
def a_chunk_without_its_end_of_line_is_refused(front: Front) -> str:
    """RFC 9112 §7.1: CR LF ends the data of a chunk."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: chunked", tag=tag, body=b"4\r\n1234XX0\r\n\r\n"), tag, 502)


@http1.case
def naming_the_framing_in_Connection_removes_nothing(front: Front) -> str:
    """RFC 9110 §7.6.1: Connection names fields of the hop; framing named there still frames (CVE-2026-26365)."""
    tag = front.tag()
    body = SMUGGLED.format(tag=tag).encode()
    sent = request(front, "POST /echo HTTP/1.1", f"Content-Length: {len(body)}", "Connection: Content-Length", tag=tag, body=body)
    return never_two(front, sent, tag)


@http1.case
def a_body_of_GET_is_framed_by_its_length(front: Front) -> str:
    """RFC 9110 §9.3.1: content in a GET has no meaning, and is framed as any other."""
    tag = front.tag()
    body = SMUGGLED.format(tag=tag).encode()
    return never_two(front, request(front, "GET /echo HTTP/1.1", f"Content-Length: {len(body)}", tag=tag, body=body), tag)


@http1.case
def the_body_of_a_request_that_was_answered_early_is_no_request(front: Front) -> str:
    """RFC 9112 §9.3: a body that was not read is skipped, or the connection ends (CVE-2025-4366)."""
    tag = front.tag()
    body = SMUGGLED.format(tag=tag).encode()
    return never_two(front, request(front, "POST /early HTTP/1.1", f"Content-Length: {len(body)}", tag=tag, body=body), tag)


# === heads ===


@http1.case
def no_host_is_refused(front: Front) -> str:
    """RFC 9110 §7.2: an HTTP/1.1 request without Host is a 400."""
    tag = front.tag()
    return refused(front, f"GET /echo HTTP/1.1\r\nx-case: {tag}\r\n\r\n".encode(), tag)


@http1.case
def two_hosts_are_refused(front: Front) -> str:
    """RFC 9110 §7.2: a request with more than one Host is a 400."""
    tag = front.tag()
    return refused(front, request(front, "GET /echo HTTP/1.1", "Host: b.example", tag=tag), tag)


@http1.case
def a_host_that_is_none_is_refused(front: Front) -> str:
    """RFC 9110 §7.2: an invalid Host is a 400."""
    tag = front.tag()
    return refused(front, f"GET /echo HTTP/1.1\r\nHost: a b.example\r\nx-case: {tag}\r\n\r\n".encode(), tag)


@http1.case
def a_space_before_the_colon_is_refused(front: Front) -> str:
    """RFC 9112 §5.1: whitespace between a name and its colon is a 400."""
    tag = front.tag()
    return refused(front, request(front, "POST /echo HTTP/1.1", "Content-Length : 4", tag=tag, body=b"1234"), tag)


@http1.case
def a_folded_line_is_refused_or_unfolded(front: Front) -> str:
    """RFC 9112 §5.2: obs-fold is a 400, or becomes spaces."""
    tag = front.tag()
    got = exchange(front, request(front, "GET /echo HTTP/1.1", "x-folded: a", " b", tag=tag))
    if got.statuses()[:1] == [200] and forwarded(front, tag).get("x-folded") not in ("a b", "a  b", "a   b"):
        raise Wrong(f"200, {forwarded(front, tag).get('x-folded')!r}")
    if got.statuses()[:1] not in ([200], [400]):
        raise Wrong(got.said())
    return got.said()


@http1.case
def a_NUL_in_a_value_is_refused(front: Front) -> str:
    """RFC 9110 §5.5: CR, LF and NUL in a value are invalid and dangerous."""
    tag = front.tag()
    return refused(front, request(front, "GET /echo HTTP/1.1", "x-bad: 1\0002", tag=tag), tag)


@http1.case
def a_lone_CR_in_a_value_is_refused(front: Front) -> str:
    """RFC 9112 §2.2: a bare CR is invalid, or becomes a space."""
    tag = front.tag()
    got = exchange(front, request(front, "GET /echo HTTP/1.1", "x-bad: 1\r2", tag=tag))
    if got.statuses()[:1] == [200] and forwarded(front, tag).get("x-bad") != "1 2":
        raise Wrong(f"200, {forwarded(front, tag).get('x-bad')!r}")
    return got.said()


@http1.case
def an_empty_name_is_refused(front: Front) -> str:
    """RFC 9110 §5.1: a name has one character at least (CVE-2023-25725)."""
    tag = front.tag()
    return refused(front, request(front, "GET /echo HTTP/1.1", ": x", tag=tag), tag)


@http1.case
def a_space_in_the_target_is_refused(front: Front) -> str:
    """RFC 9112 §3: a request line has three parts."""
    tag = front.tag()
    return refused(front, request(front, "GET /ec ho HTTP/1.1", tag=tag), tag)


@http1.case
def a_head_without_end_is_refused(front: Front) -> str:
    """RFC 6585 §5: fields beyond the limits are a 431, or a 400, or the end."""
    tag = front.tag()
    lines = [f"x-{number}: {'v' * 1000}" for number in range(1000)]
    return refused(front, request(front, "GET /echo HTTP/1.1", *lines, tag=tag), tag, 431, 414)


@http1.case
def an_absolute_target_counts_more_than_Host(front: Front) -> str:
    """RFC 9112 §3.2.2: with a target in absolute form, Host is its authority; or it is a 400."""
    tag = front.tag()
    sent = f"GET http://{front.authority}/echo HTTP/1.1\r\nHost: other.example\r\nx-case: {tag}\r\n\r\n".encode()
    got = exchange(front, sent)
    if got.statuses()[:1] == [400]:
        return got.said()
    hosts = forwarded(front, tag).all("host")
    if hosts != [front.authority]:
        raise Wrong(f"{got.said()}, Host {', '.join(hosts)}")
    return got.said()


@http1.case
def CONNECT_is_no_tunnel(front: Front) -> str:
    """RFC 9110 §9.3.6: a gateway answers CONNECT by a refusal."""
    tag = front.tag()
    got = exchange(front, f"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nx-case: {tag}\r\n\r\n".encode(), b"GET / HTTP/1.1\r\n\r\n")
    if got.statuses()[:1] and 200 <= got.statuses()[0] < 300:
        raise Wrong(got.said())
    return got.said()


# === fields of the connection ===


@http1.case
def fields_that_Connection_names_end_here(front: Front) -> str:
    """RFC 9110 §7.6.1: an intermediary removes the fields that Connection names, and Connection."""
    tag = front.tag()
    exchange(front, request(front, "GET /echo HTTP/1.1", "Connection: close, x-hop", "x-hop: 1", "Keep-Alive: 5", tag=tag))
    seen = forwarded(front, tag)
    if left := [name for name in ("x-hop", "keep-alive") if seen.get(name)]:
        raise Wrong(f"forwarded: {', '.join(left)}")
    return "removed"


# === exchanges ===


@http1.case
def pipelined_requests_are_answered_in_order(front: Front) -> str:
    """RFC 9112 §9.3.2: a server answers pipelined requests in the order in which they came."""
    sent = [request(front, f"GET /bytes/{size} HTTP/1.1") for size in (1, 22, 333)]
    got = exchange(front, b"".join(sent))
    if got.statuses() != [200, 200, 200]:
        raise Wrong(got.said())
    at = [got.raw.lower().find(f"content-length: {size}\r\n".encode()) for size in (1, 22, 333)]
    if -1 in at or at != sorted(at):
        raise Wrong("another order")
    return got.said()


@http1.case
def a_chunked_request_comes_whole(front: Front) -> str:
    """RFC 9112 §7.1: chunks are put together, or made anew."""
    tag = front.tag()
    body = b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 1\r\n\r\n"
    got = exchange(front, request(front, "POST /echo HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: x-sum", tag=tag, body=body))
    if forwarded(front, tag).length != 11:
        raise Wrong(f"{got.said()}, {forwarded(front, tag).length} bytes")
    return got.said()


@http1.case
def expect_100_continue_is_answered(front: Front) -> str:
    """RFC 9110 §10.1.1: 100 or a final answer, and then the body is taken."""
    tag = front.tag()
    with front.dial() as connection:
        connection.sendall(request(front, "POST /echo HTTP/1.1", "Expect: 100-continue", "Content-Length: 5", tag=tag))
        first = connection.recv(1000)
        if not first.startswith(b"HTTP/1.1 100"):
            raise Wrong(first[:20].decode("latin-1"))
        connection.sendall(b"hello")
        raw = first
        while not (final := [status for status in Got(raw, False).statuses() if status >= 200]):
            more = connection.recv(4000)
            if not more:
                raise Wrong("100, closed")
            raw += more
        if final != [200]:
            raise Wrong(f"100, {final[0]}")
    return "100, 200"


@http1.case
def an_interim_answer_is_never_the_answer(front: Front) -> str:
    """RFC 9110 §15.2: 103 before the final answer is passed on or dropped."""
    got = exchange(front, request(front, "GET /interim HTTP/1.1"))
    if got.statuses() not in ([103, 200], [200]) or b"final" not in got.raw:
        raise Wrong(got.said())
    return got.said()


@http1.case
def an_answer_cut_short_of_its_length_is_no_whole_one(front: Front) -> str:
    """RFC 9112 §8: an answer that breaks off is broken off for the client too."""
    got = exchange(front, request(front, "GET /cut/1000 HTTP/1.1"))
    if got.statuses() != [200] or not got.closed:
        raise Wrong(got.said())
    return got.said()


@http1.case
def a_chunked_answer_cut_short_is_no_whole_one(front: Front) -> str:
    """RFC 9112 §8: a chunked answer without its last chunk is incomplete, and stays so."""
    got = exchange(front, request(front, "GET /cut-chunked/1000 HTTP/1.1"))
    if got.raw.endswith(b"0\r\n\r\n") or not got.closed:
        raise Wrong(f"{got.said()}, as if whole")
    return got.said()


@http1.case
def an_early_answer_reaches_a_client_that_still_sends(front: Front) -> str:
    """RFC 9112 §9.6: the answer is not lost to a reset while the client sends 8 MiB without reading; 10 tries."""
    whole = 0
    for _ in range(10):
        body = b"x" * (8 << 20)
        got = exchange(front, request(front, "POST /early HTTP/1.1", f"Content-Length: {len(body)}"), body)
        whole += got.statuses()[:1] == [413] and b"large" in got.raw
    if whole != 10:
        raise Wrong(f"{whole} of 10")
    return "10 of 10"


@http1.case
def a_client_that_closed_its_side_gets_its_answer(front: Front) -> str:
    """RFC 9112 §9.6: a half-closed client has ended its request, not the exchange."""
    with front.dial() as connection:
        connection.sendall(request(front, "GET /bytes/1000 HTTP/1.1", "Connection: close"))
        connection.shutdown(socket.SHUT_WR)
        raw = b""
        while more := connection.recv(1 << 16):
            raw += more
    if not raw.endswith(pattern(0, 1000)):
        raise Wrong(f"{len(raw)} bytes")
    return "200"


@http1.case
def a_client_that_resets_ends_its_request_at_the_service(front: Front) -> str:
    """RFC 9110 §7.6: nobody works for a client that is gone."""
    tag = front.tag()
    connection = front.dial()
    connection.sendall(request(front, "GET /hold HTTP/1.1", tag=tag))
    connection.recv(1)
    time.sleep(0.05)
    end_hard(connection)
    if not any(seen.gone for seen in front.upstream.await_seen(tag, lambda requests: any(seen.gone for seen in requests))):
        raise Wrong("the service goes on")
    return "given up"
