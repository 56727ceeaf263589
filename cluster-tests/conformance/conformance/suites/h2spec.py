"""The cases of h2spec, where a program of that name is on the path."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

from ..case import Case, Outcome, Suite, Verdict
from ..front import Front

SECONDS = 600


class H2Spec(Suite):
    def is_there(self) -> bool:
        return shutil.which("h2spec") is not None

    def run_on(self, front: Front, only: str) -> Iterator[tuple[Case, Outcome]]:
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            command = ["h2spec", "--strict", "-p", str(front.port), "-P", "/echo", "-o", "3", "-j", report.name]
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
            tree = ElementTree.parse(report.name)
        for group in tree.iter("testsuite"):
            for number, found in enumerate(group.iter("testcase"), 1):
                package = group.get("package", "")
                name = f"{package}/{number} {found.get('classname', '')}"
                if only in name:
                    yield Case(self.name, name, section(package), "as h2spec has it", lambda _: ""), outcome(found)


def section(package: str) -> str:
    """h2spec has the sections of the first edition of HTTP/2, RFC 7540."""
    kind, _, number = package.partition("/")
    return {"http2": f"RFC 7540 §{number}", "hpack": f"RFC 7541 §{number}"}.get(kind, package)


def outcome(found: ElementTree.Element) -> Outcome:
    for kind in ("failure", "error"):
        if (failed := found.find(kind)) is not None:
            # What it accepts, a line each; then what it got.
            return Outcome(Verdict.WRONG, (failed.text or kind).splitlines()[-1].strip())
    if found.find("skipped") is not None:
        return Outcome(Verdict.CANNOT, "skipped")
    return Outcome(Verdict.RIGHT, "passed")


h2spec = H2Spec("h2spec", "h2spec", front="h2c")
