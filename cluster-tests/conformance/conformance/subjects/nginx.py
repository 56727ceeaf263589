"""nginx: HTTP/2 on cleartext is prior knowledge alone. Nothing is buffered, so that streams are streams."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from ..process import Process
from . import Plan


class Nginx:
    name = "nginx"
    title = "nginx"

    def is_installed(self) -> bool:
        return shutil.which("nginx") is not None

    def version(self) -> str:
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
        return re.search(r"nginx/(\S+)", said)[1]

    def start(self, plan: Plan, port: int, folder: Path) -> Process:
        file = folder / "nginx.conf"
        file.write_text(self.configuration(plan, port, folder))
        process = Process(["nginx", "-c", str(file), "-e", str(folder / "nginx.error")], folder / "nginx.log")
        process.wait_for_port(port)
        return process

    def configuration(self, plan: Plan, port: int, folder: Path) -> str:
        passed = "grpc_pass grpc://upstream;" if plan.behind == "h2c" else "proxy_pass http://upstream;"
        websocket = ""
        if plan.websocket_port:
            websocket = f"location /ws {{ proxy_pass http://127.0.0.1:{plan.websocket_port}; }}"
        return f"""
worker_processes 1;
pid {folder}/nginx.pid;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx.body; proxy_temp_path {folder}/nginx.proxy;
  fastcgi_temp_path {folder}/nginx.fcgi; uwsgi_temp_path {folder}/nginx.uwsgi; scgi_temp_path {folder}/nginx.scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  client_max_body_size 0;
  upstream upstream {{ server 127.0.0.1:{plan.upstream_port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port}{" http2" if plan.front == "h2c" else ""};
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_read_timeout 300s;
    grpc_read_timeout 300s;
    location / {{ {passed} }}
    {websocket}
  }}
}}
"""
