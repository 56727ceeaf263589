"""gRPC with grpcio on both ends, HTTP/2 with prior knowledge on both sides of the subject."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import grpc

from ..case import Run, Suite, Wrong
from ..front import Front
from ..upstream.rpc import OPTIONS, RpcService

SECONDS = 10

grpc_suite = Suite("grpc", "gRPC", front="h2c", behind="h2c")


class Echo:
    """The client side of the service: messages are bytes."""

    def __init__(self, front: Front, service: RpcService) -> None:
        options = [*OPTIONS, ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(front.authority, options=options)
        self.service = service
        self.unary = self.channel.unary_unary("/test.Echo/Unary")
        self.download = self.channel.unary_stream("/test.Echo/Download")
        self.upload = self.channel.stream_unary("/test.Echo/Upload")
        self.chat = self.channel.stream_stream("/test.Echo/Chat")
        self.fail = self.channel.unary_unary("/test.Echo/Fail")
        self.late = self.channel.unary_stream("/test.Echo/Late")
        self.wait = self.channel.unary_unary("/test.Echo/Wait")
        self.tell = self.channel.unary_unary("/test.Echo/Tell")
        self.missing = self.channel.unary_unary("/test.Echo/Missing")


def case(run) -> Run:
    """A case on an open channel; a status that it does not expect is what it did."""

    def with_channel(front: Front) -> str:
        echo = Echo(front, front.rpc)
        try:
            return run(echo, front.tag())
        except grpc.RpcError as problem:
            raise Wrong(f"{problem.code().name}: {problem.details()}"[:80]) from problem
        except grpc.FutureTimeoutError as problem:
            raise Wrong("silence") from problem
        finally:
            echo.channel.close()

    with_channel.__name__, with_channel.__doc__ = run.__name__, run.__doc__
    return grpc_suite.case(with_channel)


def expect(right: bool, did: str) -> None:
    if not right:
        raise Wrong(did)


@contextmanager
def status(*codes: grpc.StatusCode) -> Iterator[list[grpc.RpcError]]:
    """What is inside ends with one of the codes."""
    seen: list[grpc.RpcError] = []
    try:
        yield seen
    except grpc.RpcError as problem:
        if problem.code() not in codes:
            raise
        seen.append(problem)
    else:
        raise Wrong("OK")


@case
def a_unary_call(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Requests: a message goes and one comes back, with status 0 in trailers."""
    expect(echo.unary(b"hello", timeout=SECONDS) == b"hello", "another message")
    return "OK"


@case
def an_empty_message(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Length-Prefixed-Message: five bytes of prefix and none behind are a message."""
    expect(echo.unary(b"", timeout=SECONDS) == b"", "another message")
    return "OK"


@case
def a_thousand_calls_on_one_channel(echo: Echo, tag: str) -> str:
    """RFC 9113 §5.1.1: streams of one connection, one after the other."""
    for number in range(1000):
        expect(echo.unary(b"%d" % number, timeout=SECONDS) == b"%d" % number, f"call {number}: another message")
    return "1000 OK"


@case
def a_hundred_calls_at_once(echo: Echo, tag: str) -> str:
    """RFC 9113 §5.1.2: streams of one connection, side by side."""
    calls = [echo.unary.future(b"%d" % number, timeout=SECONDS) for number in range(100)]
    expect([call.result() for call in calls] == [b"%d" % number for number in range(100)], "other messages")
    return "100 OK"


@case
def a_stream_of_the_server(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Responses: any number of messages, then the trailers."""
    got = list(echo.download(b"5000", timeout=SECONDS))
    expect(got == [b"%d" % number for number in range(5000)], f"{len(got)} messages")
    return "5000 messages"


@case
def a_stream_of_the_client(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Requests: any number of messages, then END_STREAM."""
    got = echo.upload((b"x" * 1000 for _ in range(2000)), timeout=SECONDS)
    expect(got == b"2000 2000000", got.decode())
    return "2000 messages"


@case
def both_sides_take_turns(echo: Echo, tag: str) -> str:
    """gRPC core concepts, bidirectional streaming: each message is there before the next is sent; nothing waits for more."""
    heard = Event()
    said = 0

    def turns() -> Iterator[bytes]:
        nonlocal said
        for number in range(20):
            said = number
            yield b"%d" % number
            if not heard.wait(5):
                return
            heard.clear()

    got = []
    for message in echo.chat(turns(), timeout=SECONDS):
        got.append(message)
        heard.set()
    expect(got == [b"%d" % number for number in range(20)], f"{len(got)} of 20 turns")
    return "20 turns"


@case
def messages_of_16_MiB(echo: Echo, tag: str) -> str:
    """RFC 9113 §6.9: a message longer than any window goes both ways."""
    message = bytes(range(256)) * (1 << 16)
    expect(echo.unary(message, timeout=30) == message, "another message")
    return "16 MiB"


@case
def a_status_without_a_message(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Trailers-Only: status, text and metadata reach the client as the service sent them."""
    with status(grpc.StatusCode.FAILED_PRECONDITION) as seen:
        echo.fail(b"9", timeout=SECONDS)
    expect(seen[0].details() == "füll, as asked 100%", f"text {seen[0].details()!r}")
    expect(("x-why", "asked for") in [tuple(pair) for pair in seen[0].trailing_metadata()], "metadata lost")
    return "status, text, metadata"


@case
def every_status_comes_through(echo: Echo, tag: str) -> str:
    """gRPC status codes: 1 to 16 reach the client, each as itself."""
    for number in range(1, 17):
        code = next(code for code in grpc.StatusCode if code.value[0] == number)
        with status(code):
            echo.fail(b"%d" % number, timeout=SECONDS)
    return "1 to 16"


@case
def a_status_after_messages(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Responses: what came before a status counts, and the status with it."""
    got = []
    with status(grpc.StatusCode.RESOURCE_EXHAUSTED):
        for message in echo.late(b"", timeout=SECONDS):
            got.append(message)
    expect(got == [b"one", b"two"], f"{len(got)} messages")
    return "2 messages, then the status"


@case
def a_method_that_is_not_there(echo: Echo, tag: str) -> str:
    """gRPC status codes: UNIMPLEMENTED of the service reaches the client."""
    with status(grpc.StatusCode.UNIMPLEMENTED):
        echo.missing(b"", timeout=SECONDS)
    return "UNIMPLEMENTED"


@case
def metadata_both_ways(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Custom-Metadata: text and binary fields, first and last, in both directions."""
    sent = (("x-text", "a value"), ("x-more", "1"), ("x-more", "2"), ("x-raw-bin", b"\0\1\xfe\xff"))
    got, call = echo.tell.with_call(b"", metadata=sent, timeout=SECONDS)
    told = got.decode()
    for key, value in sent:
        expect(repr((key, value)) in told, f"{key} lost")
    first = [tuple(pair) for pair in call.initial_metadata()]
    last = [tuple(pair) for pair in call.trailing_metadata()]
    expect(("x-first", "1") in first and ("x-first-bin", b"\0\1\2\xff") in first, "first metadata lost")
    expect(("x-last", "2") in last and ("x-last-bin", b"\xff\0") in last, "last metadata lost")
    return "all there"


@case
def a_deadline_reaches_the_service(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Timeout: grpc-timeout reaches the service, as it came or less."""
    with status(grpc.StatusCode.DEADLINE_EXCEEDED):
        echo.wait(tag.encode(), timeout=1.5)
    told = echo.service.deadlines.get(tag)
    expect(told is not None and told <= 1.6, f"the service has {told}")
    return "told"


@case
def a_deadline_ends_the_call_at_the_service(echo: Echo, tag: str) -> str:
    """gRPC core concepts, deadlines: DEADLINE_EXCEEDED at the client, and the service learns that nobody waits."""
    begun = time.monotonic()
    with status(grpc.StatusCode.DEADLINE_EXCEEDED):
        echo.wait(tag.encode(), timeout=0.5)
    expect(time.monotonic() - begun < 3, "late")
    expect(echo.service.await_end(tag), "the service goes on")
    return "DEADLINE_EXCEEDED, ended"


@case
def a_cancelled_call_ends_at_the_service(echo: Echo, tag: str) -> str:
    """gRPC core concepts, cancelling: RST_STREAM with CANCEL goes through."""
    call = echo.wait.future(tag.encode(), timeout=60)
    for _ in range(500):
        if tag in echo.service.ended:
            break
        time.sleep(0.01)
    call.cancel()
    expect(echo.service.await_end(tag), "the service goes on")
    return "ended"


@case
def other_calls_go_on_after_a_cancelled_one(echo: Echo, tag: str) -> str:
    """RFC 9113 §5.4.2: a reset stream is no end of its connection."""
    for number in range(50):
        echo.wait.future(f"{tag}-{number}".encode(), timeout=60).cancel()
    expect(echo.unary(b"hello", timeout=SECONDS) == b"hello", "another message")
    return "OK"


@case
def a_stream_that_nobody_reads_stops_no_other(echo: Echo, tag: str) -> str:
    """RFC 9113 §5.2: a slow reader holds its own stream alone."""
    stalled = [echo.download(b"2000000", timeout=60) for _ in range(5)]
    for call in stalled:
        next(call)
    for number in range(20):
        expect(echo.unary(b"%d" % number, timeout=SECONDS) == b"%d" % number, "another message")
    for call in stalled:
        call.cancel()
    return "20 OK beside 5 stalled"


@case
def a_compressed_message(echo: Echo, tag: str) -> str:
    """gRPC over HTTP/2, Message-Encoding: what is compressed is the peers' own matter."""
    got = echo.unary(b"hello" * 1000, timeout=SECONDS, compression=grpc.Compression.Gzip)
    expect(got == b"hello" * 1000, "another message")
    return "OK"
