"""The law that a certificate is never wrong, on as many random nets as are asked for.

Every certifier of the registry certifies balls around samples of random nets of every
layer kind and activation, in both norms. Then all is tried that may disprove it. Writes
the counts to ``results/soundness.json``; ``--more`` adds to what stands there. Ends
with status 1 if anything was certified and broken.

    python -m benchmarks.soundness --points 10000 [--attacked-every 20] [--more]
        [--certifiers NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine
from robustcert.certify.registry import CERTIFIERS
from robustcert.results.norm import THREAT_NORMS
from tests.laws.fuzz_nets import FAMILIES, fuzz_net
from tests.laws.soundness_fuzz import Tally, Trial

RESULTS = Path(__file__).resolve().parent / "results" / "soundness.json"
EVERY = 25
"""Nets between two writings of the counts."""


def main() -> None:
    """Run trials until as many balls were certified as were asked for."""
    asked = _arguments()
    torch.set_num_threads(1)
    tallies, start = _known(asked.json) if asked.more else ({}, 0)
    names = {name: tallies.setdefault(name, Tally()) for name in asked.certifiers}
    began, goal = time.process_time(), _points(tallies) + asked.points
    for number, (family, seed) in enumerate(_nets(start), start=1):
        net, attacked = fuzz_net(family, seed), int(number % asked.attacked_every == 0)
        for name, norm in itertools.product(names, THREAT_NORMS):
            trial = Trial(net, name, norm, seed, attacked=attacked)
            tallies[name].add(trial.run())
        if number % EVERY == 0 or _points(tallies) >= goal:
            _save(asked.json, tallies, seed, time.process_time() - began)
        if _points(tallies) >= goal:
            break
    broken = [line for tally in tallies.values() for line in tally.broken]
    print(json.dumps(_counts(tallies), indent=1))
    if broken:
        sys.exit("certified and broken:\n" + "\n".join(broken))


def _nets(start: int) -> Iterator[tuple[str, int]]:
    """Every family with every seed from ``start``."""
    for seed in itertools.count(start):
        for family in FAMILIES:
            yield family, seed


def _points(tallies: dict[str, Tally]) -> int:
    """Balls certified so far."""
    return sum(tally.points for tally in tallies.values())


def _counts(tallies: dict[str, Tally]) -> dict[str, Any]:
    """By certifier, and of all together."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    return {
        "total": asdict(total),
        "certifiers": {name: asdict(tally) for name, tally in tallies.items()},
    }


def _save(path: Path, tallies: dict[str, Tally], seed: int, seconds: float) -> None:
    document = {
        "machine": machine(),
        "families": list(FAMILIES),
        "norms": [norm.word for norm in THREAT_NORMS],
        "last_seed": seed,
        "last_cpu_seconds": seconds,
        **_counts(tallies),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document, indent=1) + "\n")
    draft.replace(path)
    counts = {name: tally.points for name, tally in tallies.items()}
    print(json.dumps({"seed": seed, "seconds": round(seconds), **counts}), flush=True)


def _known(path: Path) -> tuple[dict[str, Tally], int]:
    """The counts of an earlier run, and the first seed that it did not use."""
    if not path.is_file():
        return {}, 0
    known = json.loads(path.read_text())
    tallies = {name: Tally(**counts) for name, counts in known["certifiers"].items()}
    return tallies, int(known["last_seed"]) + 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*CERTIFIERS]
    parser.add_argument("--points", type=int, default=10_000, help="balls to certify")
    parser.add_argument("--certifiers", nargs="*", default=names, choices=names)
    parser.add_argument(
        "--attacked-every", type=int, default=20,
        help="nets between two whose balls the engine attacks as well",
    )  # fmt: skip
    parser.add_argument("--more", action="store_true", help="add to the counts")
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
