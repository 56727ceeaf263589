"""The suite itself, and what its modules share."""

from __future__ import annotations

from ...case import Suite, Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import Code, Fields, block, headers

http2 = Suite("http2", "HTTP/2", front="h2c")


def malformed(front: Front, fields: Fields, *, tag: str, end: bool = True, then: bytes = b"", status: tuple[int, ...] = (400,)) -> str:
    """Sends a request that is malformed (RFC 9113 §8.1.1): a stream error or a 400, and nothing whole for the upstream."""
    with Connection.opened(front) as connection:
        stream = connection.take_stream()
        connection.send(headers(stream, block(fields), end=end), then)
        did = connection.expect_stream_error(stream, Code.PROTOCOL_ERROR, status=status)
    not_forwarded(front, tag, did)
    return did


def not_forwarded(front: Front, tag: str, did: str) -> None:
    """What was sent before has reached the upstream when a later request has."""
    with Connection.opened(front) as other:
        other.expect_answer(other.request())
    if any(request.complete for request in front.upstream.seen(tag)):
        raise Wrong(f"forwarded all the same, {did}")
