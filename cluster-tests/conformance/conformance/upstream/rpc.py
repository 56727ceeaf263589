"""A gRPC service of grpcio, whose messages are plain bytes.

    /test.Echo/Unary     the request
    /test.Echo/Download  the request as a number N: messages 0 to N - 1
    /test.Echo/Upload    the count and the bytes of all
    /test.Echo/Chat      each message as it comes
    /test.Echo/Fail      the status that the request names, with no message
    /test.Echo/Late      two messages, then a status
    /test.Echo/Wait      nothing until the call ends, which the journal notes
    /test.Echo/Tell      the metadata of the call as text, and metadata of its own
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc

LARGEST = 32 << 20
OPTIONS = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST), ("grpc.so_reuseport", 0)]


class RpcService:
    def __init__(self) -> None:
        self.ended: dict[str, Event] = {}
        self.deadlines: dict[str, float | None] = {}
        self.server = grpc.server(ThreadPoolExecutor(64), options=OPTIONS)
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
            "Download": grpc.unary_stream_rpc_method_handler(download),
            "Upload": grpc.stream_unary_rpc_method_handler(upload),
            "Chat": grpc.stream_stream_rpc_method_handler(lambda requests, context: requests),
            "Fail": grpc.unary_unary_rpc_method_handler(fail),
            "Late": grpc.unary_stream_rpc_method_handler(late),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Tell": grpc.unary_unary_rpc_method_handler(tell),
        }
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", methods)])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def wait(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        ended = self.ended.setdefault(request.decode(), Event())
        self.deadlines[request.decode()] = context.time_remaining()
        gone = Event()
        if not context.add_callback(gone.set):
            gone.set()
        gone.wait(30)
        ended.set()
        return b""

    def await_end(self, tag: str, seconds: float = 5) -> bool:
        """Whether the service has learnt that the call `Wait` with that tag is over."""
        return self.ended.setdefault(tag, Event()).wait(seconds)

    def close(self) -> None:
        self.server.stop(0).wait(10)


def download(request: bytes, context: grpc.ServicerContext):
    for number in range(int(request)):
        yield str(number).encode()


def upload(requests, context: grpc.ServicerContext) -> bytes:
    count = total = 0
    for request in requests:
        count, total = count + 1, total + len(request)
    return f"{count} {total}".encode()


def fail(request: bytes, context: grpc.ServicerContext) -> bytes:
    status = next(status for status in grpc.StatusCode if status.value[0] == int(request))
    context.set_trailing_metadata((("x-why", "asked for"),))
    context.abort(status, "füll, as asked 100%")


def late(request: bytes, context: grpc.ServicerContext):
    yield b"one"
    yield b"two"
    time.sleep(0.05)
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")


def tell(request: bytes, context: grpc.ServicerContext) -> bytes:
    context.send_initial_metadata((("x-first", "1"), ("x-first-bin", b"\0\1\2\xff")))
    context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\xff\0")))
    return repr(sorted((key, value) for key, value in context.invocation_metadata())).encode()
