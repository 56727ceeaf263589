"""RFC 9113 §8.1 to §8.3: what a request may be, and what must never reach the service behind."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import Code, block, continuation, data, headers
from .suite import http2, malformed, not_forwarded

BAD_REQUEST = (400,)


def without(front: Front, name: bytes) -> str:
    """A plain request without one of its pseudo fields."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = [field for field in connection.fields(tag=tag) if field[0] != name]
    return malformed(front, fields, tag=tag)


def with_more(front: Front, *more: tuple[bytes, bytes], status: tuple[int, ...] = BAD_REQUEST) -> str:
    """A plain request with fields behind."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields("/echo", *more, tag=tag)
    return malformed(front, fields, tag=tag, status=status)


def with_pseudo(front: Front, name: bytes, value: bytes, status: tuple[int, ...] = BAD_REQUEST) -> str:
    """A plain request with another value of one of its pseudo fields."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = [(key, value if key == name else old) for key, old in connection.fields(tag=tag)]
    return malformed(front, fields, tag=tag, status=status)


def with_pseudo_before(front: Front, name: bytes, value: bytes) -> str:
    """A plain request with one more pseudo field before all others."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = [(name, value), *connection.fields(tag=tag)]
    return malformed(front, fields, tag=tag)


def served(front: Front, *more: tuple[bytes, bytes], path: str = "/echo", method: str = "GET") -> dict:
    """What the service got of a request that is all right."""
    with Connection.opened(front) as connection:
        answer = connection.expect_answer(connection.request(path, *more, method=method))
        return answer.json()


def got(echoed: dict, name: str) -> list[str]:
    return [value for key, value in echoed["fields"] if key.lower() == name]


# === names and values of fields (§8.2) ===


@http2.case
def an_uppercase_name_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a field name in uppercase makes a request malformed."""
    return with_more(front, (b"X-Upper", b"1"))


@http2.case
def a_name_with_a_space_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a name has no characters of 0x00 to 0x20."""
    return with_more(front, (b"x bad", b"1"))


@http2.case
def a_name_with_a_colon_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a name has no colon but the first of a pseudo field."""
    return with_more(front, (b"x-bad:", b"1"))


@http2.case
def a_name_with_a_line_break_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a name that would be two lines in HTTP/1.1 is malformed."""
    return with_more(front, (b"x-a\r\nx-b", b"1"))


@http2.case
def an_empty_name_is_malformed(front: Front) -> str:
    """RFC 9110 §5.1: a field name is a token, of one character at least."""
    return with_more(front, (b"", b"1"))


@http2.case
def a_value_with_CR_LF_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a value has no CR or LF: in HTTP/1.1 it would be another field, or another request."""
    return with_more(front, (b"x-bad", b"1\r\nx-injected: 2"))


@http2.case
def a_value_with_a_lone_LF_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: many readers of HTTP/1.1 take a lone LF for the end of a line."""
    return with_more(front, (b"x-bad", b"1\nx-injected: 2"))


@http2.case
def a_value_with_NUL_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: a value has no NUL."""
    return with_more(front, (b"x-bad", b"1\x002"))


@http2.case
def a_value_that_begins_with_a_space_is_refused_or_trimmed(front: Front) -> str:
    """RFC 9113 §8.2.1: a value does not begin or end with a space or tab; it is malformed, or never reaches the service so."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        stream = connection.request("/echo", (b"x-spaced", b" 1 "), tag=tag)
        answer = connection.answer(stream)
    if answer.status == 200:
        return "trimmed"  # the service's own reader of HTTP/1.1 cannot tell it
    if answer.status != 400 and answer.reset != Code.PROTOCOL_ERROR and answer.goaway != Code.PROTOCOL_ERROR:
        raise Wrong(answer.said())
    not_forwarded(front, tag, answer.said())
    return answer.said()


# === fields of a connection (§8.2.2) ===


@http2.case
def connection_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: a request with connection-specific fields is malformed."""
    return with_more(front, (b"connection", b"close"))


@http2.case
def keep_alive_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: Keep-Alive is connection-specific."""
    return with_more(front, (b"keep-alive", b"timeout=5"))


@http2.case
def proxy_connection_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: Proxy-Connection is connection-specific."""
    return with_more(front, (b"proxy-connection", b"keep-alive"))


@http2.case
def transfer_encoding_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: Transfer-Encoding is connection-specific; passed on it is smuggling."""
    return with_more(front, (b"transfer-encoding", b"chunked"))


@http2.case
def upgrade_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: Upgrade is connection-specific."""
    return with_more(front, (b"upgrade", b"websocket"))


@http2.case
def te_other_than_trailers_is_malformed(front: Front) -> str:
    """RFC 9113 §8.2.2: TE may be there with the value trailers alone."""
    return with_more(front, (b"te", b"trailers, deflate"))


@http2.case
def te_trailers_is_taken(front: Front) -> str:
    """RFC 9113 §8.2.2: TE may be there with the value trailers."""
    served(front, (b"te", b"trailers"))
    return "200"


# === pseudo fields (§8.3) ===


@http2.case
def an_unknown_pseudo_field_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: undefined pseudo fields make a request malformed."""
    return with_pseudo_before(front, b":unknown", b"1")


@http2.case
def a_pseudo_field_of_answers_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: pseudo fields of answers have no place in a request."""
    return with_pseudo_before(front, b":status", b"200")


@http2.case
def a_pseudo_field_behind_a_regular_one_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: pseudo fields stand before all others."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        plain = connection.fields(tag=tag)
    path = next(field for field in plain if field[0] == b":path")
    return malformed(front, [*(field for field in plain if field != path), path], tag=tag)


@http2.case
def a_missing_method_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3.1: a request has exactly one :method."""
    return without(front, b":method")


@http2.case
def a_missing_scheme_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3.1: a request has exactly one :scheme."""
    return without(front, b":scheme")


@http2.case
def a_missing_path_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3.1: a request has exactly one :path."""
    return without(front, b":path")


@http2.case
def an_empty_path_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3.1: :path is not empty for http and https."""
    return with_pseudo(front, b":path", b"")


@http2.case
def a_doubled_method_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: the same pseudo field does not appear twice."""
    return with_pseudo_before(front, b":method", b"GET")


@http2.case
def a_doubled_scheme_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: the same pseudo field does not appear twice."""
    return with_pseudo_before(front, b":scheme", b"http")


@http2.case
def a_doubled_path_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: the same pseudo field does not appear twice."""
    return with_pseudo_before(front, b":path", b"/")


@http2.case
def a_doubled_authority_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3: the same pseudo field does not appear twice."""
    return with_pseudo_before(front, b":authority", b"other.example")


@http2.case
def a_path_without_a_leading_slash_is_malformed(front: Front) -> str:
    """RFC 9113 §8.3.1: :path begins with a slash, or is * for OPTIONS."""
    return with_pseudo(front, b":path", b"echo")


@http2.case
def a_path_with_a_space_is_refused(front: Front) -> str:
    """RFC 3986 §3.3: a path has no space: in a request line it would end the target."""
    return with_pseudo(front, b":path", b"/echo HTTP/1.1")


@http2.case
def a_path_with_a_line_break_is_refused(front: Front) -> str:
    """RFC 9113 §8.2.1: a path with CR LF would be a request of its own in HTTP/1.1."""
    return with_pseudo(front, b":path", b"/echo HTTP/1.1\r\nhost: x\r\n\r\nGET /smuggled")


@http2.case
def a_path_with_NUL_is_refused(front: Front) -> str:
    """RFC 9113 §8.2.1: values have no NUL."""
    return with_pseudo(front, b":path", b"/ec\x00ho")


@http2.case
def a_method_that_is_no_token_is_refused(front: Front) -> str:
    """RFC 9110 §9.1: a method is a token; with a space it would be a target too."""
    return with_pseudo(front, b":method", b"GET /admin", status=(400, 405, 501))


@http2.case
def a_method_with_a_line_break_is_refused(front: Front) -> str:
    """RFC 9110 §9.1: a method is a token."""
    return with_pseudo(front, b":method", b"GET\r\nx", status=(400, 405, 501))


@http2.case
def an_authority_with_a_user_is_refused(front: Front) -> str:
    """RFC 9113 §8.3.1: :authority has no userinfo for http and https."""
    return with_pseudo(front, b":authority", b"user@127.0.0.1")


@http2.case
def an_authority_with_a_line_break_is_refused(front: Front) -> str:
    """RFC 9113 §8.2.1: values have no CR or LF."""
    return with_pseudo(front, b":authority", b"a.example\r\nx-injected: 1")


@http2.case
def authority_and_host_that_differ_are_never_both_believed(front: Front) -> str:
    """RFC 9113 §8.3.1: a request whose Host differs from its :authority is malformed, or :authority alone counts (RFC 9110 §7.2)."""
    with Connection.opened(front) as connection:
        stream = connection.request("/echo", (b"host", b"other.example"))
        answer = connection.answer(stream)
    if answer.status == 200:
        hosts = got(answer.json(), "host")
        if hosts != [front.authority]:
            raise Wrong(f"200, Host {', '.join(hosts)}")
        return "200, :authority counts"
    if answer.status != 400 and answer.reset is None and answer.goaway is None:
        raise Wrong(answer.said())
    return answer.said()


@http2.case
def host_without_authority_is_taken(front: Front) -> str:
    """RFC 9113 §8.3.1: a request that was HTTP/1.1 before may have Host in place of :authority."""
    with Connection.opened(front) as connection:
        fields = [field for field in connection.fields("/echo", (b"host", front.authority.encode())) if field[0] != b":authority"]
        connection.send(headers(1, block(fields)))
        hosts = got(connection.expect_answer(1).json(), "host")
    if hosts != [front.authority]:
        raise Wrong(f"Host {', '.join(hosts)}")
    return "200"


@http2.case
def two_hosts_are_refused(front: Front) -> str:
    """RFC 9110 §7.2: a request with more than one Host is refused with 400."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        plain = [field for field in connection.fields(tag=tag) if field[0] != b":authority"]
    return malformed(front, [*plain, (b"host", b"a.example"), (b"host", b"b.example")], tag=tag)


@http2.case
def authority_becomes_the_one_Host(front: Front) -> str:
    """RFC 9113 §8.3.1: an intermediary that goes on in HTTP/1.1 makes Host of :authority."""
    hosts = got(served(front), "host")
    if hosts != [front.authority]:
        raise Wrong(f"Host {', '.join(hosts)}")
    return "Host"


@http2.case
def CONNECT_with_a_path_is_malformed(front: Front) -> str:
    """RFC 9113 §8.5: CONNECT has neither :scheme nor :path; no gateway is a tunnel unasked."""
    return with_pseudo(front, b":method", b"CONNECT", status=(400, 405, 501))


@http2.case
def CONNECT_is_no_tunnel(front: Front) -> str:
    """RFC 9110 §9.3.6: a gateway answers CONNECT by a refusal; nothing is tunnelled."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        stream = connection.take_stream()
        fields = [(b":method", b"CONNECT"), (b":authority", b"127.0.0.1:1"), (b"x-case", tag.encode())]
        connection.send(headers(stream, block(fields), end=False))
        answer = connection.answer(stream)
    if 200 <= answer.status < 300 or not answer.is_over():
        raise Wrong(answer.said())
    return answer.said()


@http2.case
def extended_CONNECT_that_was_not_offered_is_refused(front: Front) -> str:
    """RFC 8441 §4: :protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL of the server is malformed."""
    with Connection.opened(front) as connection:
        if connection.server_settings.get(8):
            return "offered"
        stream = connection.take_stream()
        fields = connection.fields("/switch/bytes", (b"sec-websocket-version", b"13"), method="CONNECT")
        connection.send(headers(stream, block([(b":protocol", b"websocket"), *fields]), end=False))
        return connection.expect_stream_error(stream, Code.PROTOCOL_ERROR, status=(400, 405, 501))


# === lengths (§8.1.1) ===


@http2.case
def DATA_shorter_than_content_length_is_malformed(front: Front) -> str:
    """RFC 9113 §8.1.1: content-length equals the sum of the DATA."""
    return of_length(front, b"5", [b"four"])


@http2.case
def DATA_longer_than_content_length_is_malformed(front: Front) -> str:
    """RFC 9113 §8.1.1: content-length equals the sum of the DATA; more would be another request in HTTP/1.1."""
    return of_length(front, b"1", [b"four"])


@http2.case
def several_DATA_shorter_than_content_length_are_malformed(front: Front) -> str:
    """RFC 9113 §8.1.1: the sum counts."""
    return of_length(front, b"10", [b"four", b"four"])


@http2.case
def several_DATA_longer_than_content_length_are_malformed(front: Front) -> str:
    """RFC 9113 §8.1.1: the sum counts."""
    return of_length(front, b"6", [b"four", b"four"])


@http2.case
def a_content_length_without_DATA_is_malformed(front: Front) -> str:
    """RFC 9113 §8.1.1: END_STREAM with the HEADERS is a length of 0; the service would wait for the next user's bytes."""
    return of_length(front, b"5", [])


@http2.case
def a_content_length_that_is_no_number_is_malformed(front: Front) -> str:
    """RFC 9110 §8.6: Content-Length is digits."""
    return of_length(front, b"+4", [b"four"])


@http2.case
def two_content_lengths_that_differ_are_malformed(front: Front) -> str:
    """RFC 9110 §8.6: several values that differ are invalid."""
    return of_length(front, b"4", [b"four"], (b"content-length", b"5"))


def of_length(front: Front, length: bytes, pieces: list[bytes], *more: tuple[bytes, bytes]) -> str:
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields("/echo", (b"content-length", length), *more, method="POST", tag=tag)
    then = b"".join(data(1, piece, end=number == len(pieces)) for number, piece in enumerate(pieces, 1))
    return malformed(front, fields, tag=tag, end=not pieces, then=then)


# === trailers (§8.1) ===


@http2.case
def trailers_without_END_STREAM_are_malformed(front: Front) -> str:
    """RFC 9113 §8.1: HEADERS after the DATA end the stream; else the request is malformed."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields(method="POST", tag=tag)
    return malformed(front, fields, tag=tag, end=False, then=data(1, b"test") + headers(1, block([(b"x-sum", b"1")]), end=False))


@http2.case
def trailers_with_pseudo_fields_are_malformed(front: Front) -> str:
    """RFC 9113 §8.1: trailers have no pseudo fields."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields(method="POST", tag=tag)
    return malformed(front, fields, tag=tag, end=False, then=data(1, b"test") + headers(1, block([(b":method", b"GET")])))


@http2.case
def trailers_with_uppercase_names_are_malformed(front: Front) -> str:
    """RFC 9113 §8.2.1: what holds for names holds in trailers."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields(method="POST", tag=tag)
    return malformed(front, fields, tag=tag, end=False, then=data(1, b"test") + headers(1, block([(b"X-Sum", b"1")])))


@http2.case
def trailers_of_a_request_are_taken(front: Front) -> str:
    """RFC 9113 §8.1: a request may end with trailers; they reach the service or are dropped, and the body is whole."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(data(stream, b"test"), headers(stream, block([(b"x-sum", b"1")])))
        echoed = connection.expect_answer(stream).json()
    if echoed["length"] != 4:
        raise Wrong(f"{echoed['length']} bytes")
    return "passed on" if echoed["trailers"] else "dropped"


@http2.case
def a_length_in_trailers_frames_nothing(front: Front) -> str:
    """RFC 9110 §6.5.1: framing fields have no place in trailers: refused or dropped, and the body counts as it came."""
    with Connection.opened(front) as connection:
        stream = connection.request(method="POST", end=False)
        connection.send(data(stream, b"test"), headers(stream, block([(b"content-length", b"9"), (b"host", b"x.example")])))
        answer = connection.answer(stream)
    if answer.status == 200:
        echoed = answer.json()
        if echoed["length"] != 4 or any(name.lower() in ("content-length", "host") for name, _ in echoed["trailers"]):
            raise Wrong("200, passed on")
        return "200, dropped"
    if answer.status != 400 and answer.reset is None and answer.goaway is None:
        raise Wrong(answer.said())
    return answer.said()


# === cookies (§8.2.3) ===


@http2.case
def cookie_crumbs_are_joined(front: Front) -> str:
    """RFC 9113 §8.2.3: several cookie fields become one, with a semicolon and a space between, before HTTP/1.1."""
    cookies = got(served(front, (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-between", b"1"), (b"cookie", b"c=3")), "cookie")
    if cookies != ["a=1; b=2; c=3"]:
        raise Wrong(f"Cookie: {' | '.join(cookies)}")
    return "joined"


@http2.case
def a_thousand_cookie_crumbs_are_bounded(front: Front) -> str:
    """RFC 9113 §10.5.1: a list of fields beyond the limits is refused: by 431, 400 or an error, or joined to one if it is short."""
    with Connection.opened(front) as connection:
        stream = connection.request("/echo", *[(b"cookie", b"a=1")] * 1000)
        answer = connection.answer(stream)
    if answer.status == 200:
        return f"200, {len(got(answer.json(), 'cookie'))} field"
    if answer.status not in (400, 431) and answer.reset is None and answer.goaway is None:
        raise Wrong(answer.said())
    return answer.said()


@http2.case
def a_list_of_fields_beyond_the_limit_is_refused(front: Front) -> str:
    """RFC 9113 §10.5.1: a server that gets more than it will handle answers 431, or resets; others go on."""
    tag = front.tag()
    with Connection.opened(front) as connection:
        fields = connection.fields("/echo", *[(b"x-%d" % number, b"v" * 4000) for number in range(100)], tag=tag)
        whole = block(fields)
        pieces = [whole[at : at + 16000] for at in range(0, len(whole), 16000)]
        connection.send(headers(1, pieces[0], end_headers=False))
        connection.send(*(continuation(1, piece, end_headers=piece is pieces[-1]) for piece in pieces[1:]))
        did = connection.expect_stream_error(
            1, Code.ENHANCE_YOUR_CALM, Code.PROTOCOL_ERROR, Code.REFUSED_STREAM, Code.INTERNAL_ERROR, Code.COMPRESSION_ERROR, status=(400, 431)
        )
    not_forwarded(front, tag, did)
    return did
