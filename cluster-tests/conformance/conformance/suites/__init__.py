"""The suites: what each holds the subjects against."""

from __future__ import annotations

from ..case import Suite


def all_suites() -> list[Suite]:
    from .autobahn import autobahn
    from .floods import floods
    from .grpc import grpc_suite
    from .h2spec import h2spec
    from .http1 import http1
    from .http2 import http2
    from .websocket import websocket

    return [http2, h2spec, floods, websocket, autobahn, grpc_suite, http1]
