"""A running subject, as its cases see it."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass

from .case import Wrong
from .process import Process
from .subjects import Plan
from .upstream.http1 import Http1Upstream
from .upstream.rpc import RpcService

WAIT_SECONDS = 5
"""How long a case waits for what must come. It matters only where nothing comes."""

numbers = itertools.count(1)


@dataclass
class Front:
    subject: str
    port: int
    process: Process
    plan: Plan
    upstream: Http1Upstream
    rpc: RpcService | None = None

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    def dial(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def tag(self) -> str:
        """A name for the requests of one case, by which the upstream's journal is asked."""
        return f"case-{next(numbers)}"

    def serves(self) -> bool:
        """Whether a new connection still gets an answer."""
        from .http2.connection import Connection

        try:
            if self.plan.front == "h2c":
                with Connection.opened(self) as connection:
                    return connection.answer(connection.request("/status/204")).is_over()
            with self.dial() as connection:
                connection.sendall(b"GET /status/204 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
                return bool(connection.recv(100))
        except (OSError, Wrong):
            return False
