"""The run: every suite on every subject, and what it says."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import tempfile
from pathlib import Path

from . import report
from .case import Case, Outcome, Suite
from .front import Front
from .process import DidNotStart, Process, free_port
from .report import Results
from .subjects import Plan, Subject, all_subjects
from .suites import all_suites
from .upstream.loop import Loop
from .upstream.services import Services


def main() -> int:
    subjects, suites = all_subjects(), all_suites()
    arguments = parse(subjects, suites)
    missing = [subject.name for subject in subjects if subject.name in arguments.subjects and not subject.is_installed()]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    subjects = [subject for subject in subjects if subject.name in arguments.subjects and subject.name not in missing]
    results = Results({subject.name: (subject.title, subject.version()) for subject in subjects})
    # So that who ends the run ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    loop = Loop()
    with tempfile.TemporaryDirectory(prefix="sluice-conformance-") as folder:
        for suite in suites:
            if suite.name not in arguments.suites:
                continue
            if not suite.is_there():
                print(f"{suite.name}: what it needs is not installed, left out", file=sys.stderr)
                continue
            for subject in subjects:
                run_suite(suite, subject, loop, Path(folder), arguments.only, results)
    loop.close()
    if arguments.beside:
        report.beside(results, json.loads(arguments.beside.read_text()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(results), indent=1) + "\n")
    if arguments.page:
        arguments.page.write_text(report.into_page(arguments.page.read_text(), results))
    print(report.as_text(results))
    return 1 if results.unexplained() else 0


def parse(subjects: list[Subject], suites: list[Suite]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cluster-tests/conformance/run", description="Holds Sluice beside its peers, case by case.")
    parser.add_argument("--subjects", type=names(subject.name for subject in subjects), default=[subject.name for subject in subjects])
    parser.add_argument("--suites", "--suite", type=names(suite.name for suite in suites), default=[suite.name for suite in suites])
    parser.add_argument("--only", default="", metavar="WORDS", help="the cases whose names have these words in them")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="what --json wrote, for the subjects that are not run now")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page whose tables to replace, docs/conformance.md")
    return parser.parse_args()


def names(known):
    known = list(known)

    def listed(text: str) -> list[str]:
        found = text.split(",")
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return found

    return listed


def run_suite(suite: Suite, subject: Subject, loop: Loop, folder: Path, only: str, results: Results) -> None:
    print(f"{suite.name} on {subject.title}", file=sys.stderr)
    own = folder / suite.name / subject.name
    own.mkdir(parents=True)
    for part in (folder, folder / suite.name, own):
        part.chmod(0o755)  # a subject may serve as another user
    services = Services.start(suite, loop)
    process: Process | None = None
    try:
        plan = Plan(suite.front, suite.behind, services.port, services.websocket_port)
        port = free_port()
        process = subject.start(plan, port, own)
        front = Front(subject.name, port, process, plan, services.http1, services.rpc)
        for case, outcome in suite.run_on(front, only):
            results.add(case, subject.name, outcome)
            show(case, outcome)
            if not process.is_alive():
                port = free_port()
                front.process = process = subject.start(plan, port, own)
                front.port = port
    except DidNotStart as problem:
        print(f"  {problem}", file=sys.stderr)
        results.did_not_start(suite, subject.name, str(problem).splitlines()[0])
    finally:
        if process:
            process.stop()
        services.close()


def show(case: Case, outcome: Outcome) -> None:
    figures = "".join(f", {report.figure(name, value)}" for name, value in outcome.figures.items())
    print(f"  {outcome.verdict.name.lower():6} {case.name}: {outcome.did}{figures}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
