"""HTTP/2 of a client with prior knowledge, by the sections of RFC 9113 and RFC 7541; HTTP/1.1 behind."""

from __future__ import annotations

from . import starting, frames, streams, definitions, settings, windows, compression, messages, exchange
from .suite import http2

__all__ = ["http2"]
