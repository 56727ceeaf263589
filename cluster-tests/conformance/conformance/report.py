"""What came out: the comparison, and its forms for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .case import Case, Outcome, Suite, Verdict
from .explained import EXPLAINED

SHORT = {Verdict.RIGHT: "right", Verdict.CODE: "*code*", Verdict.WRONG: "**wrong**", Verdict.CANNOT: "cannot", Verdict.DIED: "**died**"}


@dataclass
class Results:
    subjects: dict[str, tuple[str, str]]
    """Title and version by name."""
    outcomes: dict[Case, dict[str, Outcome]] = field(default_factory=dict)
    absent: list[tuple[str, str, str]] = field(default_factory=list)
    """Suite, subject, why it did not start."""

    def add(self, case: Case, subject: str, outcome: Outcome) -> None:
        self.outcomes.setdefault(case, {})[subject] = outcome

    def did_not_start(self, suite: Suite, subject: str, why: str) -> None:
        self.absent.append((suite.name, subject, why))

    def suites(self) -> Iterator[tuple[str, list[Case]]]:
        for name in dict.fromkeys(case.suite for case in self.outcomes):
            yield name, [case for case in self.outcomes if case.suite == name]

    def count(self, cases: list[Case], subject: str, verdict: Verdict) -> int:
        return sum(self.outcomes[case][subject].verdict == verdict for case in cases if subject in self.outcomes[case])

    def unexplained(self) -> list[Case]:
        return [case for case in self.worse_than_the_best("sluice") if (case.suite, case.name) not in EXPLAINED]

    def worse_than_the_best(self, subject: str) -> list[Case]:
        """The cases in which another one does better; the mere code of an error is not counted."""
        if subject not in self.subjects:
            return []
        worse = []
        for case, by_subject in self.outcomes.items():
            others = [outcome.verdict for name, outcome in by_subject.items() if name != subject]
            own = by_subject[subject].verdict if subject in by_subject else Verdict.DIED
            if others and own < max(others) and own != Verdict.CODE:
                worse.append(case)
        return worse


def as_text(results: Results) -> str:
    """The counts by suite, and every case that not all have right."""
    lines: list[str] = []
    for suite, cases in results.suites():
        lines.append(f"\n{suite}: {len(cases)} cases")
        for name, (title, version) in results.subjects.items():
            counts = ", ".join(f"{results.count(cases, name, verdict)} {verdict.name.lower()}" for verdict in reversed(Verdict))
            lines.append(f"  {title} {version}: {counts}")
        for case in cases:
            by_subject = results.outcomes[case]
            if any(outcome.verdict != Verdict.RIGHT for outcome in by_subject.values()):
                lines.append(f"  {case.source} {case.name}")
                lines += [f"      {results.subjects[name][0]}: {outcome.verdict.name.lower()}, {outcome.did}" for name, outcome in by_subject.items()]
    for suite, subject, why in results.absent:
        lines.append(f"\n{suite} on {results.subjects[subject][0]}: {why}")
    worse = results.worse_than_the_best("sluice")
    lines.append(f"\nSluice is worse than the best of the others in {len(worse)} cases")
    for case in worse:
        why = EXPLAINED.get((case.suite, case.name))
        lines.append(f"  {case.suite}: {case.name}" + (f"\n      explained: {why}" if why else ""))
    return "\n".join(lines)


def as_json(results: Results) -> dict:
    return {
        "subjects": {name: {"title": title, "version": version} for name, (title, version) in results.subjects.items()},
        "cases": [
            {
                "suite": case.suite,
                "case": case.name,
                "source": case.source,
                "rule": case.rule,
                "outcomes": {
                    name: {"verdict": outcome.verdict.name.lower(), "did": outcome.did, "figures": outcome.figures}
                    for name, outcome in by_subject.items()
                },
            }
            for case, by_subject in results.outcomes.items()
        ],
        "absent": [{"suite": suite, "subject": subject, "why": why} for suite, subject, why in results.absent],
        "worse": [f"{case.suite}: {case.name}" for case in results.worse_than_the_best("sluice")],
    }


def beside(results: Results, said: dict) -> None:
    """Takes the outcomes of other subjects from what an earlier run wrote as JSON."""
    others = {name: (told["title"], told["version"]) for name, told in said["subjects"].items() if name not in results.subjects}
    results.subjects = {**others, **results.subjects}
    cases = {(case.suite, case.name): case for case in results.outcomes}
    for told in said["cases"]:
        case = cases.get((told["suite"], told["case"]))
        for name in others if case else ():
            if name in told["outcomes"]:
                outcome = told["outcomes"][name]
                results.add(case, name, Outcome(Verdict[outcome["verdict"].upper()], outcome["did"], outcome["figures"]))


def as_markdown(results: Results) -> str:
    """The tables of docs/conformance.md: the counts, all that was measured, and every case that not all have right."""
    names = list(results.subjects)
    titles = [f"{title} {version}" for title, version in results.subjects.values()]
    lines = ["| suite | cases | " + " | ".join(titles) + " |", "|---|---:|" + "---:|" * len(names)]
    for suite, cases in results.suites():
        counts = [counted(results, cases, name) for name in names]
        lines.append(f"| {suite} | {len(cases)} | " + " | ".join(counts) + " |")
    for suite, cases in results.suites():
        shown = [case for case in cases if is_telling(results.outcomes[case], names)]
        if not shown:
            continue
        lines += ["", f"### {suite}", "", "| case | rule | " + " | ".join(results.subjects[name][0] for name in names) + " |", "|---|---|" + "---|" * len(names)]
        for case in shown:
            cells = [cell(results.outcomes[case].get(name)) for name in names]
            lines.append(f"| {plain(case.name)} | {plain(case.source)}: {plain(case.rule)} | " + " | ".join(cells) + " |")
    lines += ["", "### Where Sluice is worse than the best of the others", ""]
    for case in results.worse_than_the_best("sluice"):
        lines.append(f"* {case.suite}, *{plain(case.name)}*: {EXPLAINED.get((case.suite, case.name), 'not explained')}.")
    return "\n".join(lines) + "\n"


def counted(results: Results, cases: list[Case], name: str) -> str:
    other_codes = results.count(cases, name, Verdict.CODE)
    return f"{results.count(cases, name, Verdict.RIGHT)}" + (f" + {other_codes}" if other_codes else "")


def is_telling(by_subject: dict[str, Outcome], names: list[str]) -> bool:
    outcomes = [by_subject.get(name) for name in names]
    return any(outcome is None or outcome.verdict != Verdict.RIGHT or outcome.figures for outcome in outcomes)


def cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "–"
    figures = "".join(f"; {figure(name, value)}" for name, value in outcome.figures.items())
    did = plain(outcome.did) + figures
    return did if outcome.verdict == Verdict.RIGHT else f"{SHORT[outcome.verdict]}: {did}"


def figure(name: str, value: float) -> str:
    """`memory, MiB` and a value as text."""
    what, _, unit = name.rpartition(", ")
    return f"{what} {value:g} {unit}"


def plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


FIRST, LAST = "<!-- The run -->", "<!-- The end of the run -->"


def into_page(page: str, results: Results) -> str:
    """The page with the tables between its two marks replaced."""
    before, rest = page.split(FIRST, 1)
    after = rest.split(LAST, 1)[1]
    return f"{before}{FIRST}\n\n{as_markdown(results)}\n{LAST}{after}"
