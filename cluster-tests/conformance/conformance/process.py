"""A subject's processes: started, measured, ended."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_SECONDS = 60
"""A machine that compiles meanwhile is slow to start anything."""


class DidNotStart(Exception):
    pass


class Process:
    """One program and all that it starts, in a group of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self.child.poll() is None

    def wait_for_port(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.is_alive():
                break
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise DidNotStart(f"{self.child.args} does not listen on {port}; its log ends:\n{tail}")

    def tree(self) -> list[int]:
        """The process and all below it."""
        parents: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    stat = Path("/proc", entry, "stat").read_text()
                except OSError:
                    continue  # ended meanwhile
                parents[int(entry)] = int(stat.rsplit(") ", 1)[1].split()[1])
        found = [self.child.pid]
        for member in found:
            found.extend(child for child, parent in parents.items() if parent == member)
        return found

    def resident_bytes(self) -> int:
        total = 0
        for member in self.tree():
            try:
                total += int(Path("/proc", str(member), "statm").read_text().split()[1]) * PAGE
            except OSError:
                continue
        return total

    def cpu_seconds(self) -> float:
        ticks = 0
        for member in self.tree():
            try:
                fields = Path("/proc", str(member), "stat").read_text().rsplit(") ", 1)[1].split()
            except OSError:
                continue
            ticks += sum(int(value) for value in fields[11:15])
        return ticks / TICK

    def stop(self) -> None:
        """Asks, and after ten seconds insists."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, sent)
            except ProcessLookupError:
                break
            try:
                self.child.wait(10)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.child.pid, signal.SIGKILL)  # what outlived its parent
        except ProcessLookupError:
            pass


@contextmanager
def peak_of(process: Process) -> Iterator[dict[str, float]]:
    """Measures what happens inside: CPU seconds, and the most resident memory above that at the start."""
    figures: dict[str, float] = {}
    before, cpu = process.resident_bytes(), process.cpu_seconds()
    most, over = before, Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, process.resident_bytes())

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield figures
    finally:
        over.set()
        watcher.join()
        most = max(most, process.resident_bytes())
        figures["memory, MiB"] = round((most - before) / 2**20, 1)
        figures["CPU, s"] = round(process.cpu_seconds() - cpu, 2)


def free_port() -> int:
    """A port of loopback that is free now, below the range that the system gives away by itself."""
    while True:
        port = random.randrange(19000, 29000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
