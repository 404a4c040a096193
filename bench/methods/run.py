"""Every check of every training method, with fresh seeds, through the product's own loop.

    python -m bench.methods.run [--fast] [--only KD-1 ...] [--fresh] [--list]

A result is one line of build/methods/results.jsonl per check and seed; a killed run goes on where it stood, and a check
whose file has changed since is run again. Prints the table of docs/methods/README.md; exits with 1 where a rule does
not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev

from bench.methods.check import Check, Figures
from bench.methods.experiment import one_thread
from bench.shared import REPOSITORY, markdown

RESULTS = REPOSITORY / "build" / "methods" / "results.jsonl"
HELPERS = frozenset({"check", "experiment", "run"})


def main() -> int:
    """Runs what was asked for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the subset of CI: the first seed of quick checks")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these checks")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results of what runs now")
    parser.add_argument("--list", action="store_true", help="name the checks and run nothing")
    options = parser.parse_args()
    checks = chosen(options.only, fast=options.fast)
    if options.list:
        print("\n".join(f"{check.name:8} {len(check.seeds)} seeds  {check.text}" for check in checks))
        return 0
    one_thread()
    done = {} if options.fresh else earlier()
    rows = []
    for check in checks:
        figures = [result(check, seed, done) for seed in check.seeds[: 1 if options.fast else None]]
        rows.append(row(check, figures))
    print(markdown(["check", "rule", "figures: mean ± std (every seed)", "held"], rows))
    return 0 if all(line[-1] == "yes" for line in rows) else 1


def chosen(only: Iterable[str], *, fast: bool) -> list[Check]:
    """The checks of every file of this folder, in order of file and place; those named, or the fast ones."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    checks = [check for name in files for check in importlib.import_module(f"bench.methods.{name}").CHECKS]
    known = {check.name for check in checks}
    for name in only:
        if name not in known:
            raise SystemExit(f"there is no check {name}; choose from {', '.join(sorted(known))}")
    return [check for check in checks if (not only or check.name in only) and (check.fast or not fast)]


def earlier() -> dict[tuple[str, int, str], Figures]:
    """Results that earlier runs left."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found = [json.loads(line) for line in lines]
    return {(line["check"], line["seed"], line["code"]): line["figures"] for line in found}


def result(check: Check, seed: int, done: dict[tuple[str, int, str], Figures]) -> Figures:
    """The figures of one seed, from an earlier run where there is one."""
    code = hashlib.sha256(Path(inspect.getfile(check.run)).read_bytes()).hexdigest()[:12]
    if (check.name, seed, code) in done:
        return done[check.name, seed, code]
    started = time.process_time()
    figures = {name: float(value) for name, value in check.run(seed).items()}
    seconds = round(time.process_time() - started, 1)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a") as file:
        line = {"check": check.name, "seed": seed, "code": code, "cpu_seconds": seconds, "figures": figures}
        file.write(json.dumps(line) + "\n")
    print(f"{check.name} seed {seed} ({seconds} s): {figures}", file=sys.stderr, flush=True)
    return figures


def row(check: Check, figures: list[Figures]) -> tuple[str, str, str, str]:
    """One line of the table."""
    means = {name: mean(each[name] for each in figures) for name in figures[0]}
    cells = []
    for name, value in means.items():
        each = [one[name] for one in figures]
        spread = stdev(each) if len(each) > 1 else 0.0
        cells.append(f"{name} **{value:.4g}** ± {spread:.2g} ({', '.join(f'{one:.4g}' for one in each)})")
    return check.name, check.text, "<br>".join(cells), "yes" if check.rule(means) else "no"


if __name__ == "__main__":
    sys.exit(main())
