"""The cases of the Autobahn test suite, driven by kosoku: a fuzzing client through each subject to an echo service.

It tests the ends more than what is between; so the service is asked without a gateway too, and a gateway is wrong
where what it passes through comes out other than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from kosoku import FailureError, run_fuzzingclient

from ..case import Case, Outcome, Suite, Verdict
from ..front import Front

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8 handling",
    "7": "close handling",
    "9": "limits and performance",
    "10": "autofragmentation",
    "12": "compression with various payloads",
    "13": "compression with various options",
}
LEFT_OUT = ["9.*", "12.*", "13.*"]
"""Hundreds of MiB through Python services, and compression that is the ends' own."""


class Autobahn(Suite):
    def run_on(self, front: Front, only: str) -> Iterator[tuple[Case, Outcome]]:
        direct = asyncio.run(fuzz(f"ws://127.0.0.1:{front.plan.websocket_port}/ws/echo"))
        passed = {result.case_id for result in direct if result.passed}
        groups: dict[str, list] = {}
        for result in asyncio.run(fuzz(f"ws://{front.authority}/ws/echo")):
            groups.setdefault(result.case_id.split(".")[0], []).append(result)
        for number, group in groups.items():
            name = f"{GROUPS.get(number, 'group')} ({number}.*)"
            if only in name:
                yield Case(self.name, name, "RFC 6455", "what the ends agree on goes through", lambda _: ""), summary(group, passed)


async def fuzz(url: str) -> list:
    try:
        return await run_fuzzingclient(url, exclude_cases=LEFT_OUT, concurrency=4)
    except FailureError as problem:
        return problem.results


def summary(group: list, passed: set[str]) -> Outcome:
    """Against those that pass without a gateway."""
    failed = [result.case_id for result in group if not result.passed and result.case_id in passed]
    did = f"{len(group) - len(failed)} of {len(group)}"
    if failed:
        return Outcome(Verdict.WRONG, f"{did}; not {', '.join(failed[:5])}")
    return Outcome(Verdict.RIGHT, did)


autobahn = Autobahn("autobahn", "Autobahn")
