"""The proxies that are held beside each other, each set up as a plain proxy before one upstream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..case import Wire
from ..process import Process


@dataclass(frozen=True)
class Plan:
    """What a suite wants of a subject."""

    front: Wire
    """What clients speak, on cleartext."""
    behind: Wire
    """What the upstream speaks."""
    upstream_port: int
    websocket_port: int | None = None
    """Where paths that begin with /ws go to, if anywhere else."""


class Subject(Protocol):
    name: str
    title: str

    def is_installed(self) -> bool: ...

    def version(self) -> str: ...

    def start(self, plan: Plan, port: int, folder: Path) -> Process:
        """Starts it on `port` with its files in `folder`; returns when it serves."""
        ...


def all_subjects() -> list[Subject]:
    from .caddy import Caddy
    from .haproxy import HAProxy
    from .nginx import Nginx
    from .sluice import Sluice

    return [Nginx(), HAProxy(), Caddy(), Sluice()]
