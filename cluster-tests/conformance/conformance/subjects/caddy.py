"""Caddy, whose HTTP/2 is that of Go's net/http."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..process import Process
from . import Plan


class Caddy:
    name = "caddy"
    title = "Caddy"

    def is_installed(self) -> bool:
        return shutil.which("caddy") is not None

    def version(self) -> str:
        return subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout.split()[0]

    def start(self, plan: Plan, port: int, folder: Path) -> Process:
        file = folder / "Caddyfile"
        file.write_text(self.configuration(plan, port))
        process = Process(
            ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
            folder / "caddy.log",
            {"HOME": str(folder), "GOMAXPROCS": "1"},
        )
        process.wait_for_port(port)
        return process

    def configuration(self, plan: Plan, port: int) -> str:
        protocols = "h1 h2c" if plan.front == "h2c" else "h1"
        scheme = "h2c" if plan.behind == "h2c" else "http"
        websocket = ""
        if plan.websocket_port:
            websocket = f"  reverse_proxy /ws* 127.0.0.1:{plan.websocket_port}\n"
        return f"""{{
  admin off
  auto_https off
  servers {{
    protocols {protocols}
  }}
}}
http://:{port} {{
  bind 127.0.0.1
{websocket}  reverse_proxy {scheme}://127.0.0.1:{plan.upstream_port} {{
    flush_interval -1
  }}
}}
"""
