"""Sluice: a cluster of one, its document given through the admin API."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from ..process import START_SECONDS, DidNotStart, Process, free_port
from . import Plan

TOKEN = "conformance-admin-token-of-this-run"
TOP = Path(__file__).parents[4]


class Sluice:
    name = "sluice"
    title = "Sluice"

    def binary(self) -> str | None:
        named = os.environ.get("CONFORMANCE_SLUICE")
        built = [str(TOP / "target" / profile / "sluice") for profile in ("release", "debug")]
        return next((path for path in ([named] if named else built) if shutil.which(path)), None)

    def is_installed(self) -> bool:
        return self.binary() is not None

    def version(self) -> str:
        said = subprocess.run([self.binary(), "--version"], capture_output=True, text=True, check=True).stdout
        return said.removeprefix("sluice").strip()

    def start(self, plan: Plan, port: int, folder: Path) -> Process:
        admin, peer = free_port(), free_port()
        command = [
            *(self.binary(), "node", "--name", "conformance", "--data", str(folder / "sluice-data")),
            *("--workers", "1", "--listen-http", f"127.0.0.1:{port}"),
            *("--listen-admin", f"127.0.0.1:{admin}", "--listen-peer", f"127.0.0.1:{peer}"),
            *(("--edge-h2c=true",) if plan.front == "h2c" else ()),
        ]
        process = Process(command, folder / "sluice.log", {"SLUICE_ADMIN_TOKEN": TOKEN})
        process.wait_for_port(admin)
        wait_until_ready(admin)
        put_document(admin, self.document(plan))
        process.wait_for_port(port)
        return process

    def document(self, plan: Plan) -> dict:
        upstream: dict = {"targets": [f"http://127.0.0.1:{plan.upstream_port}"]}
        if plan.behind == "h2c":
            upstream["protocol"] = "h2c"
        upstreams = {"upstream": upstream}
        routes = [{"id": "all", "path": "/**", "upstream": "upstream", "max_body": "none"}]
        if plan.websocket_port:
            upstreams["websocket"] = {"targets": [f"http://127.0.0.1:{plan.websocket_port}"]}
            routes.append({"id": "websocket", "path": "/ws/**", "upstream": "websocket", "max_body": "none"})
        return {"upstreams": upstreams, "gateways": {"web": {"hosts": ["*"], "routes": routes}}}


def wait_until_ready(admin: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if call(admin, "GET", "/readyz")[0] == 200:
            return
        time.sleep(0.05)
    raise DidNotStart("Sluice does not become ready")


def put_document(admin: int, document: dict) -> None:
    status, answer = call(admin, "PUT", "/v1/config?wait=all", json.dumps(document))
    if status != 200:
        raise DidNotStart(f"Sluice refused the document: {status} {answer}")


def call(admin: int, method: str, target: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
    try:
        fields = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, target, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except OSError:
        return 0, ""
    finally:
        connection.close()
