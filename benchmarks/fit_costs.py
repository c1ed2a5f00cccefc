"""``python -m benchmarks.fit_costs FILE.json ...``: fit the costs of engines to what was measured.

Prints what `mfcore.engines.costs` would estimate for each epoch beside its seconds; ``--write`` makes the
costs those that `backend="auto"` chooses by. FILE.json is what ``--benchmark-json`` wrote, of all suites with
``--long`` for every family of jobs. A family or a quantity that was not measured keeps its costs.

Costs are non-negative and make the squares of relative errors least: an estimate should be good to a factor,
for a job of milliseconds as for one of hours.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.results import SAMPLING, results_of
from mfcore.engines import CostTable, Work, costs
from mfcore.files import replacing

# Per unit of work, in the order of the costs.
KINDS = {"steps": ("step_us", 1e-6), "instances": ("instance_ns", 1e-9), "products": ("product_ns", 1e-9)}
NEGATIVE = "negative_ns"
# Of coefficients that are written.
DIGITS = 3

Measured = list[Mapping[str, Any]]


def fitted(document: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document of costs.json with the costs of what was measured.

    Parameters
    ----------
    document : dict
        The costs so far.
    runs : sequence of dict
        Documents of pytest-benchmark, from one machine.

    Raises
    ------
    ValueError
        None of these benchmarks told what its costs were.
    """
    measured = costs_of(runs)
    info = runs[-1]["machine_info"]
    new: dict[str, Any] = deepcopy(dict(document))
    new["machine"] = info.get("cpu", {}).get("brand_raw") or info.get("machine", "an unknown machine")
    new["threads"] = info["threads"]
    for name in sorted({one["engine"] for one in measured} - {"numpy"}):
        of_engine = [one for one in measured if one["engine"] == name]
        engine = new["engines"].setdefault(name, {"on_cuda": False, NEGATIVE: 0.0, "families": {}})
        negative = negative_cost(of_engine)
        if negative is not None:
            engine[NEGATIVE] = negative
        for family in sorted({one["family"] for one in of_engine} - {SAMPLING}):
            before = engine["families"].get(family, {})
            of_family = [one for one in of_engine if one["family"] == family]
            found = {**before, **family_costs(of_family, engine[NEGATIVE])}
            if set(found) == {"start_s", *(name for name, _ in KINDS.values())}:
                engine["families"][family] = found
            else:
                missing = "test_startup" if "step_us" in found else "test_training and the like"
                _note(f"{name}, {family}: not measured in full, and left out; it needs {missing}, too")
    return new


def costs_of(runs: Sequence[Mapping[str, Any]]) -> Measured:
    """Return what the results of some runs say of costs.

    Raises
    ------
    ValueError
        They say nothing.
    """
    threads = {run["machine_info"].get("threads") for run in runs}
    if len(threads) > 1:
        raise ValueError(f"runs on {' and '.join(map(str, threads))} threads; fit those of one number")
    found = [result.costs for run in runs for result in results_of(run) if result.costs is not None]
    # The scaling series also runs on other numbers of threads.
    found = [one for one in found if one.get("threads", *threads) in threads]
    if not found:
        raise ValueError("no result tells its costs; run test_training, test_sgd, test_wals and others first")
    return found


def negative_cost(measured: Measured) -> float | None:
    """Return the nanoseconds of a negative: what the stream costs with them, less what it does without."""
    listed = {bool(one["negatives"]): one for one in measured if one["family"] == SAMPLING}
    if len(listed) < 2:
        return None
    without = listed[False]["epoch_s"] / listed[False]["instances"]
    more = listed[True]["epoch_s"] - without * listed[True]["instances"]
    return _rounded(max(more, 0.0) / listed[True]["negatives"] * 1e9)


def family_costs(measured: Measured, negative_ns: float) -> dict[str, float]:
    """Return the costs of a family on an engine, as far as they were measured."""
    found = {}
    starts = [one["start_s"] for one in measured if "start_s" in one]
    if starts:
        found["start_s"] = _rounded(max(median(starts), 0.0))
    epochs = [one for one in measured if "epoch_s" in one]
    if epochs:
        work = np.array([[one[kind] * unit for kind, (_, unit) in KINDS.items()] for one in epochs])
        seconds = np.array([one["epoch_s"] - one["negatives"] * negative_ns * 1e-9 for one in epochs])
        # A stream listed on its own may cost more than within a step.
        seconds = np.maximum(seconds, [0.1 * one["epoch_s"] for one in epochs])
        coefficients, _ = nnls(work / seconds[:, None], np.ones(len(epochs)))
        found |= {name: _rounded(c) for (name, _), c in zip(KINDS.values(), coefficients, strict=True)}
    return found


def comparison(document: Mapping[str, Any], measured: Measured) -> str:
    """Return the measured seconds of epochs beside the estimated ones, as a Markdown table."""
    table = CostTable.from_document(dict(document))
    lines = [
        "| engine | family | instances | measured | estimated | ratio |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for one in measured:
        known = table.engines.get(one["engine"], {}).get(one["family"])
        if known is None or "epoch_s" not in one:
            continue
        work = Work(**{name: one[name] for name in Work.__dataclass_fields__})
        estimated = known.seconds(work, 1, table.threads) - known.start_s
        cells = (f"{one['epoch_s']:.3g} s", f"{estimated:.3g} s", f"{estimated / one['epoch_s']:.2f}")
        lines.append(f"| {one['engine']} | {one['family']} | {one['instances']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the module's documentation says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_costs", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--write", action="store_true", help=f"write them to {costs.PATH.name} of mfcore")
    told = parser.parse_args(arguments)
    try:
        runs = [json.loads(path.read_text(encoding="utf-8")) for path in told.files]
        new = fitted(json.loads(costs.PATH.read_text(encoding="utf-8")), runs)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"{', '.join(map(str, told.files))}: {error}")
    print(json.dumps(new, indent=2))
    print(f"\n{comparison(new, costs_of(runs))}")
    if told.write:
        with replacing(costs.PATH) as temporary:
            temporary.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
