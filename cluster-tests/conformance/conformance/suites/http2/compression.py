"""RFC 7541: HPACK."""

from __future__ import annotations

from ...case import Wrong
from ...front import Front
from ...http2.connection import Connection
from ...http2.frame import Code, block, headers, indexed_literal, integer, literal, string
from .suite import http2


def broken(front: Front, tail: bytes, head: bytes = b"") -> str:
    """A field block with that around plain fields: a decoding error."""
    with Connection.opened(front) as connection:
        connection.send(headers(1, head + block(connection.fields()) + tail))
        return connection.expect_connection_error(Code.COMPRESSION_ERROR)


@http2.case
def an_index_beyond_the_tables_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §2.3.3: an index greater than both tables is a decoding error."""
    return broken(front, integer(70, 7, 0x80))


@http2.case
def a_name_index_beyond_the_tables_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §2.3.3: that holds for the index of a name too."""
    return broken(front, integer(70, 6, 0x40) + string(b"value"))


@http2.case
def index_0_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §6.1: the index 0 is not used."""
    return broken(front, b"\x80")


@http2.case
def a_table_size_update_behind_fields_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §4.2: a change of the table's size stands at the beginning of a block."""
    return broken(front, b"\x20")


@http2.case
def a_table_size_beyond_the_setting_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §6.3: a new size above SETTINGS_HEADER_TABLE_SIZE is a decoding error."""
    return broken(front, b"", integer(1 << 20, 5, 0x20))


@http2.case
def table_size_updates_at_the_beginning_are_taken(front: Front) -> str:
    """RFC 7541 §4.2: the size may be lowered and raised again at the beginning of a block."""
    with Connection.opened(front) as connection:
        connection.send(headers(1, integer(0, 5, 0x20) + integer(4096, 5, 0x20) + block(connection.fields())))
        connection.expect_answer(1)
        return "200"


@http2.case
def padding_of_more_than_7_bits_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §5.2: Huffman padding of more than 7 bits is a decoding error."""
    return broken(front, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")


@http2.case
def padding_other_than_ones_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §5.2: Huffman padding that is not the most significant bits of EOS is a decoding error."""
    return broken(front, b"\x00\x85\xf2\xb2\x4a\x87\xff\x83\x49\x50\x90")


@http2.case
def EOS_within_a_string_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §5.2: a Huffman string with the EOS symbol is a decoding error."""
    return broken(front, b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")


@http2.case
def a_string_longer_than_its_block_is_a_decoding_error(front: Front) -> str:
    """RFC 9113 §4.3: a block that ends within a field cannot be decoded."""
    return broken(front, b"\x00" + integer(100, 7) + b"x-short")


@http2.case
def an_integer_without_end_is_a_decoding_error(front: Front) -> str:
    """RFC 7541 §5.1: integers beyond a limit of the implementation are decoding errors."""
    return broken(front, b"\xff" + b"\xff" * 20 + b"\x01")


@http2.case
def a_field_of_the_dynamic_table_is_read(front: Front) -> str:
    """RFC 7541 §6.1: an indexed field of the dynamic table counts as if it were spelt, in later blocks too."""
    with Connection.opened(front) as connection:
        plain = connection.fields()
        connection.send(headers(1, block(plain) + indexed_literal(b"x-kept", b"value")))
        connection.expect_answer(1)
        connection.send(headers(3, block(plain) + b"\xbe"))
        fields = dict(map(tuple, connection.expect_answer(3).json()["fields"]))
        if {name.lower(): value for name, value in fields.items()}.get("x-kept") != "value":
            raise Wrong("the field is lost")
        return "200, the field is there"


@http2.case
def an_evicted_field_is_gone(front: Front) -> str:
    """RFC 7541 §4.4: adding an entry evicts the oldest ones; an index to them is a decoding error."""
    with Connection.opened(front) as connection:
        plain = block(connection.fields())
        connection.send(headers(1, plain + indexed_literal(b"x-old", b"value")))
        connection.expect_answer(1)
        connection.send(headers(3, plain + indexed_literal(b"x-new", b"v" * 4060)))  # 4,097 with its overhead: all go
        connection.answer(3)
        connection.send(headers(5, plain + b"\xbe"))
        return connection.expect_connection_error(Code.COMPRESSION_ERROR)


@http2.case
def fields_never_to_be_indexed_are_read(front: Front) -> str:
    """RFC 7541 §6.2.3: a literal that is never indexed is a field as any other."""
    with Connection.opened(front) as connection:
        never = b"\x10" + string(b"authorization") + string(b"secret")
        connection.send(headers(1, block(connection.fields()) + never))
        connection.expect_answer(1)
        return "200"


@http2.case
def a_block_of_a_refused_request_still_feeds_the_table(front: Front) -> str:
    """RFC 9113 §4.3: a block is decoded even where its stream is refused, or the tables of both sides differ."""
    with Connection.opened(front) as connection:
        plain = block(connection.fields())
        connection.send(headers(1, plain + indexed_literal(b"x-kept", b"value") + literal(b"connection", b"close")))
        refused = connection.answer(1)
        if refused.goaway is not None or refused.closed:
            return f"connection ended: {refused.said()}"
        connection.send(headers(3, plain + b"\xbe"))
        connection.expect_answer(3)
        return "200"
