"""HAProxy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..process import Process
from . import Plan


class HAProxy:
    name = "haproxy"
    title = "HAProxy"

    def is_installed(self) -> bool:
        return shutil.which("haproxy") is not None

    def version(self) -> str:
        return subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()[2]

    def start(self, plan: Plan, port: int, folder: Path) -> Process:
        file = folder / "haproxy.cfg"
        file.write_text(self.configuration(plan, port))
        process = Process(["haproxy", "-db", "-f", str(file)], folder / "haproxy.log")
        process.wait_for_port(port)
        return process

    def configuration(self, plan: Plan, port: int) -> str:
        choice = backend = ""
        if plan.websocket_port:
            choice = "  use_backend websocket if { path_beg /ws }\n"
            backend = f"backend websocket\n  server websocket 127.0.0.1:{plan.websocket_port}\n"
        return f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 10s
  timeout tunnel 300s
frontend front
  bind 127.0.0.1:{port}{" proto h2" if plan.front == "h2c" else ""}
{choice}  default_backend upstream
backend upstream
  server upstream 127.0.0.1:{plan.upstream_port}{" proto h2" if plan.behind == "h2c" else ""}
{backend}"""
