"""A WebSocket service of the `websockets` library, on a port of its own."""

from __future__ import annotations

from threading import Thread

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

LARGEST = 32 << 20


class WebSocketService:
    """Echoes; `/ws/close/CODE` closes with that code, `/ws/refuse` answers 403, and "chat" is a subprotocol of it."""

    def __init__(self) -> None:
        self.server = serve(
            self.converse,
            "127.0.0.1",
            0,
            process_request=self.refuse,
            select_subprotocol=lambda _, offered: "chat" if "chat" in offered else None,
            compression="deflate",
            max_size=LARGEST,
            ping_interval=None,
        )
        self.port: int = self.server.socket.getsockname()[1]
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @staticmethod
    def refuse(connection: ServerConnection, request):
        if request.path.startswith("/ws/refuse"):
            return connection.respond(403, "not for you\n")
        return None

    @staticmethod
    def converse(connection: ServerConnection) -> None:
        path = connection.request.path
        if path.startswith("/ws/close/"):
            connection.close(int(path.rsplit("/", 1)[1]), "as asked")
            return
        try:
            for message in connection:
                connection.send(message)
        except ConnectionClosed:
            pass

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(10)
