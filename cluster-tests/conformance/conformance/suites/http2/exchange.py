"""RFC 9113 §8.1, RFC 9110: whole exchanges through the subject, good and broken ones."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import Code, Type, data, rst_stream
from ...upstream.http1 import pattern
from .suite import http2


@http2.case
def GET_is_answered(front: Front) -> str:
    """RFC 9110 §9.3.1: a plain GET reaches the service and its answer comes back."""
    with Connection.opened(front) as connection:
        echoed = connection.expect_answer(connection.request("/echo?x=1&y=%20")).json()
        if (echoed["method"], echoed["target"]) != ("GET", "/echo?x=1&y=%20"):
            raise Wrong(f"{echoed['method']} {echoed['target']}")
        return "200"


@http2.case
def HEAD_has_no_body(front: Front) -> str:
    """RFC 9110 §9.3.2: the answer to HEAD has the length, and no DATA."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request("/bytes/100", method="HEAD"))
        if answer.body:
            raise Wrong(f"{len(answer.body)} bytes")
        return f"200, content-length {answer.get('content-length') or 'left out'}"


@http2.case
def POST_with_a_body_is_answered(front: Front) -> str:
    """RFC 9113 §8.1: a body without content-length is framed anew for HTTP/1.1."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(data(stream, b"hello "), data(stream, b"world"), data(stream, end=True))
        length = connection.expect_answer(stream).json()["length"]
        if length != 11:
            raise Wrong(f"{length} bytes")
        return "200"


@http2.case
def a_body_of_its_content_length_is_answered(front: Front) -> str:
    """RFC 9113 §8.1.1: content-length that equals the sum of the DATA."""
    with Connection.opened(front) as connection:
        stream = connection.request("/echo", (b"content-length", b"11"), method="POST", end=False)
        connection.send(data(stream, b"hello "), data(stream), data(stream, b"world", end=True))
        length = connection.expect_answer(stream).json()["length"]
        if length != 11:
            raise Wrong(f"{length} bytes")
        return "200"


@http2.case
def OPTIONS_of_the_whole_server_is_taken(front: Front) -> str:
    """RFC 9113 §8.3.1: OPTIONS has :path * for the whole server; it is answered by whoever stands for it."""
    with Connection.opened(front) as connection:
        stream = connection.request("*", method="OPTIONS")
        answer = connection.answer(stream)
        if not 200 <= answer.status < 500 or not answer.ended:
            raise Wrong(answer.said())
        return str(answer.status)


@http2.case
def an_unknown_method_is_passed_on(front: Front) -> str:
    """RFC 9110 §9.1: methods are extensible; a gateway passes what it does not know on."""
    with Connection.opened(front) as connection:
        echoed = connection.expect_answer(connection.request(method="PROPFIND")).json()
        return f"200, {echoed['method']}"


@http2.case
def answers_without_a_body_end_their_streams(front: Front) -> str:
    """RFC 9110 §6.4.1: 204 and 304 have no content."""
    with Connection.opened(front) as connection:
        for status in (204, 304):
            answer = connection.expect_answer(connection.request(f"/status/{status}"), status)
            if answer.body:
                raise Wrong(f"{status} with {len(answer.body)} bytes")
        return "204, 304"


@http2.case
def a_chunked_answer_comes_whole(front: Front) -> str:
    """RFC 9113 §8.1: chunks of HTTP/1.1 become DATA, and the last one END_STREAM."""
    return whole(front, "/chunked/1000000", 1000000)


@http2.case
def an_answer_of_10_MB_comes_whole(front: Front) -> str:
    """RFC 9113 §6.9: bodies longer than any window go through."""
    return whole(front, "/bytes/10000000", 10000000)


def whole(front: Front, path: str, length: int) -> str:
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request(path), seconds=20)
        if answer.body != pattern(0, length):
            raise Wrong(f"{len(answer.body)} of {length} bytes")
        return f"200, {length} bytes"


@http2.case
def no_field_of_the_connection_comes_back(front: Front) -> str:
    """RFC 9113 §8.2.2: an intermediary removes connection-specific fields when it goes from HTTP/1.1 to HTTP/2."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request("/chunked/10"))
        bad = [name for name, _ in answer.fields if name in ("connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection")]
        upper = [name for name, _ in answer.fields if name != name.lower()]
        if bad or upper:
            raise Wrong(f"200 with {', '.join(bad + upper)}")
        return "200"


@http2.case
def trailers_of_an_answer_come_through(front: Front) -> str:
    """RFC 9110 §6.5: trailers may be passed on or dropped; what is dropped is lost to gRPC-like services."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request("/trailers", (b"te", b"trailers")))
        if answer.body != b"body":
            raise Wrong(f"body {answer.body!r}")
        if not answer.trailers or ("x-sum", "42") not in answer.trailers:
            raise Wrong("dropped")
        return "passed on"


@http2.case
def an_interim_answer_is_never_the_answer(front: Front) -> str:
    """RFC 9110 §15.2: a client may be sent 1xx before the final answer, or a proxy drops it; the final one comes."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request("/interim"))
        if answer.body != b"final":
            raise Wrong(f"body {answer.body!r}")
        return f"{', '.join(map(str, answer.interim))}, 200" if answer.interim else "200"


@http2.case
def expect_100_continue_is_answered(front: Front) -> str:
    """RFC 9110 §10.1.1: a client that waits for 100 gets it or a final answer; its body is taken."""
    with Connection.opened(front) as connection:
        fields = ((b"expect", b"100-continue"), (b"content-length", b"5"))
        stream = connection.request("/echo", *fields, method="POST", end=False)
        interim = False
        try:
            got = connection.read(2)
            while got.stream != stream or got.fields is None:
                got = connection.read(2)
            interim = (":status", "100") in got.fields
        except Exception:  # noqa: BLE001 - a client may send its body without having been asked for it
            pass
        connection.send(data(stream, b"hello", end=True))
        length = connection.expect_answer(stream).json()["length"]
        if length != 5:
            raise Wrong(f"{length} bytes")
        return "100, 200" if interim else "200 without 100"


@http2.case
def an_answer_cut_short_of_its_length_is_no_whole_one(front: Front) -> str:
    """RFC 9113 §8.1.1: an answer that breaks off is reset, never ended as if it were whole."""
    return cut(front, "/cut/1000")


@http2.case
def a_chunked_answer_cut_short_is_no_whole_one(front: Front) -> str:
    """RFC 9112 §8: a chunked answer without its last chunk is incomplete, and its reader is told so."""
    return cut(front, "/cut-chunked/1000")


def cut(front: Front, path: str) -> str:
    with Connection.opened(front) as connection:
        answer = connection.answer(connection.request(path))
        if (answer.ended and answer.status == 200) or not answer.is_over():
            raise Wrong(f"{answer.said()}, {len(answer.body)} bytes as if whole")
        return answer.said()


@http2.case
def an_early_answer_comes_whole_while_the_client_still_sends(front: Front) -> str:
    """RFC 9113 §8.1: an answer before the end of the request, then RST_STREAM with NO_ERROR or reading on."""
    with Connection.opened(front) as connection:
        stream = connection.request("/early", method="POST", end=False)
        connection.send(*(data(stream, b"x" * 8000) for _ in range(4)))
        answer = connection.answer(stream)
        if answer.status != 413 or answer.body != b"large":
            raise Wrong(answer.said())
        if answer.reset not in (None, Code.NO_ERROR):
            raise Wrong(answer.said())
        connection.expect_answer(connection.request())
        return f"{answer.said()}, others go on"


@http2.case
def a_stream_that_the_client_resets_ends_at_the_service(front: Front) -> str:
    """RFC 9113 §5.4.2: a cancelled request is given up behind the intermediary too."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        stream = connection.request("/hold", tag=tag)
        while connection.read().type != Type.DATA:
            pass
        connection.send(rst_stream(stream))
        connection.fence()
        if not any(request.gone for request in front.upstream.await_seen(tag, lambda requests: any(r.gone for r in requests))):
            raise Wrong("the service goes on")
        return "given up"


@http2.case
def a_head_is_passed_on_before_the_body_is_there(front: Front) -> str:
    """RFC 9113 §8.1: streams are streams: what has come of an answer is passed on at once."""
    with Connection.opened(front) as connection:
        stream = connection.request("/hold")
        seen = set()
        while seen != {Type.HEADERS, Type.DATA}:
            got = connection.read()
            if got.stream == stream:
                seen.add(Type(got.type))
            if got.type in (Type.RST_STREAM, Type.GOAWAY):
                raise Wrong(Type(got.type).name)
        return "head and first byte"


@http2.case
def a_request_is_passed_on_before_its_body_is_there(front: Front) -> str:
    """RFC 9113 §8.1: a request that goes on for long reaches its service at once."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        stream = connection.request("/echo", method="POST", tag=tag, end=False)
        connection.send(data(stream, b"first"))
        if not front.upstream.await_seen(tag):
            raise Wrong("held back")
        connection.send(data(stream, b"last", end=True))
        connection.expect_answer(stream)
        return "head at once"


@http2.case
def a_service_that_is_gone_is_a_5xx_of_its_stream(front: Front) -> str:
    """RFC 9110 §15.6.3: a service that closes without an answer is a 502, and the connection goes on."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request("/switch/nothing"), 502)
        connection.expect_answer(connection.request())
        return answer.said()
