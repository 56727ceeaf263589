"""What a case is, and what can come out of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .front import Front

Wire = Literal["http1", "h2c"]
"""What is spoken on a cleartext connection; h2c is HTTP/2 with prior knowledge."""


class Verdict(IntEnum):
    """How a subject did in a case; a greater one is better."""

    DIED = 0
    """Its process ended, or it answered nobody afterwards."""
    CANNOT = 1
    """It does not have what the case is about."""
    WRONG = 2
    CODE = 3
    """It ended what had to be ended, by another error code than the rule names; no client acts otherwise upon it."""
    RIGHT = 4


class Wrong(Exception):
    """The subject broke the rule of the case; the text is what it did, in a few words."""

    def __init__(self, did: str, figures: dict[str, float] | None = None) -> None:
        super().__init__(did)
        self.figures = figures or {}


class OtherCode(Wrong):
    """The subject ended the stream or connection that the rule ends, and named another error code."""


class Cannot(Exception):
    """The subject does not have what the case is about; the text is what it lacks."""


@dataclass(frozen=True)
class Outcome:
    verdict: Verdict
    did: str
    """What the subject did, in a few words."""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured, by name with its unit."""


@dataclass(frozen=True)
class Figures:
    """What a case that also measures returns: what the subject did, and what that cost it."""

    did: str
    values: dict[str, float]


Run = Callable[["Front"], "str | Figures"]


@dataclass(frozen=True)
class Case:
    suite: str
    name: str
    """A sentence about what is right, unique in its suite."""
    source: str
    """The section that the rule stands in."""
    rule: str
    """The rule, in our own words."""
    run: Run = field(compare=False)


class Suite:
    """Cases about one protocol, in the order of their declaration.

    The text of a case begins with its source and a colon: `RFC 9113 §6.7: a PING is answered …`.
    """

    def __init__(self, name: str, title: str, front: Wire = "http1", behind: Wire = "http1") -> None:
        self.name, self.title, self.front, self.behind = name, title, front, behind
        self.cases: list[Case] = []

    def case(self, run: Run) -> Run:
        text = " ".join((inspect.getdoc(run) or "").split())
        found = re.match(r"(?P<source>[^:]+): (?P<rule>.+)", text)
        if not found:
            raise TypeError(f"{run.__name__} names no source in its text")
        # Names of the protocol keep their underscores: END_STREAM, MAX_FRAME_SIZE.
        name = re.sub("(?<=[A-Z]{2}) (?=[A-Z]{3})", "_", run.__name__.replace("_", " "))
        self.cases.append(Case(self.name, name, found["source"], found["rule"], run))
        return run

    def is_there(self) -> bool:
        """Whether what the suite needs is installed."""
        return True

    def run_on(self, front: Front, only: str) -> Iterator[tuple[Case, Outcome]]:
        """Runs the cases whose names have that word in them."""
        for case in self.cases:
            if only in case.name:
                yield case, judged(case, front)


def judged(case: Case, front: Front) -> Outcome:
    try:
        returned = case.run(front)
    except Cannot as problem:
        return Outcome(Verdict.CANNOT, str(problem))
    except OtherCode as problem:
        outcome = Outcome(Verdict.CODE, str(problem))
    except Wrong as problem:
        outcome = Outcome(Verdict.WRONG, str(problem), problem.figures)
    except Exception as problem:  # noqa: BLE001 - whatever a case did not foresee is not what is right
        outcome = Outcome(Verdict.WRONG, f"{type(problem).__name__}: {problem}"[:80].strip(": "))
    else:
        if isinstance(returned, Figures):
            outcome = Outcome(Verdict.RIGHT, returned.did, returned.values)
        else:
            outcome = Outcome(Verdict.RIGHT, returned)
    if not front.process.is_alive():
        return Outcome(Verdict.DIED, f"ended, {outcome.did}", outcome.figures)
    if outcome.verdict == Verdict.WRONG and not front.serves():
        return Outcome(Verdict.DIED, f"serves nobody, {outcome.did}", outcome.figures)
    return outcome
