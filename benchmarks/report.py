"""``python -m benchmarks.report FILE.json``: the table of a run that ``--benchmark-json`` wrote."""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.results import Result, markdown


def report(run: dict[str, Any]) -> str:
    """Return a run as Markdown: the machine in one line, then the table.

    Parameters
    ----------
    run : dict
        The document of pytest-benchmark.

    Raises
    ------
    ValueError
        It holds no result of these benchmarks.
    """
    found = [one["extra_info"]["result"] for one in run["benchmarks"] if "result" in one["extra_info"]]
    if not found:
        raise ValueError("no result of these benchmarks in it; write one by --benchmark-json=FILE")
    machine = run["machine_info"]
    parts = [
        machine.get("cpu", {}).get("brand_raw") or machine.get("machine", "unknown processor"),
        f"{machine.get('threads', '?')} threads",
        f"Python {machine.get('python_version', '?')}",
        *(f"{name} {version}" for name, version in machine.get("versions", {}).items()),
        run.get("datetime", "")[:10],
    ]
    return ", ".join(filter(None, parts)) + "\n\n" + markdown(Result(**one) for one in found)


def main() -> None:
    """Print the report of the file that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("file", type=Path, help="what --benchmark-json wrote")
    path = parser.parse_args().file
    try:
        print(report(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"{path}: {error}")


if __name__ == "__main__":
    main()
