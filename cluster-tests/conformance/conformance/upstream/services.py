"""The services that a suite wants behind its subjects."""

from __future__ import annotations

from dataclasses import dataclass

from ..case import Suite
from .http1 import Http1Upstream
from .loop import Loop
from .rpc import RpcService
from .websocket import WebSocketService


@dataclass
class Services:
    http1: Http1Upstream
    websocket: WebSocketService | None
    rpc: RpcService | None

    @classmethod
    def start(cls, suite: Suite, loop: Loop) -> Services:
        return cls(
            Http1Upstream(loop),
            WebSocketService() if suite.name in ("websocket", "autobahn") else None,
            RpcService() if suite.behind == "h2c" else None,
        )

    @property
    def port(self) -> int:
        return self.rpc.port if self.rpc else self.http1.port

    @property
    def websocket_port(self) -> int | None:
        return self.websocket.port if self.websocket else None

    def close(self) -> None:
        for service in (self.http1, self.websocket, self.rpc):
            if service:
                service.close()
