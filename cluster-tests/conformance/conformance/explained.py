"""Where Sluice is known to be worse than the best of the others, and why that stays."""

from __future__ import annotations

EXPLAINED: dict[tuple[str, str], str] = {
    ("http2", "trailers with pseudo fields are malformed"): (
        "the HTTP/2 library drops pseudo-fields of trailers before anybody sees them; the request is served, "
        "and they do not reach the service"
    ),
    ("h2spec", "http2/3.5/2 Sends invalid connection preface"): (
        "the listener speaks HTTP/1.1 too: what does not begin with the preface is a request of HTTP/1.1, and this one "
        "is answered 400 in HTTP/1.1 and closed, which h2spec cannot read; Caddy, whose listener speaks both as well, fails alike. "
        "The case of the suite http2 that sends a broken preface takes that answer for right (RFC 9113 §3.4 lets GOAWAY be left out)"
    ),
}
