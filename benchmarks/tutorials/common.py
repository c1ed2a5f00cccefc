"""What the tutorials share: their arguments, their data, and curves of what they trained."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.data import look_beside
from mfcore import Interactions, datasets, splits
from mfcore.engines import registry
from mfcore.files import replacing


class Tutorial(argparse.Namespace):
    """What a tutorial is told on the command line.

    Attributes
    ----------
    data : str
        A MovieLens size, such as "1m".
    backend : str
    epochs : int
    seed : int
        Of the split and of training.
    picture : Path or None
        Where the curves are drawn; an ending that matplotlib knows.
    """

    data: str
    backend: str
    epochs: int
    seed: int
    picture: Path | None

    @classmethod
    def parsed(
        cls, description: str | None, arguments: Sequence[str] | None, data: str, epochs: int
    ) -> "Tutorial":
        """Return the arguments, given the tutorial's own data and epochs."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--data", default=data, help=f"MovieLens size: 100k, 1m, 20m, 25m ... ({data})")
        parser.add_argument(
            "--backend", default="keras", help=f"one of {', '.join(registry.names())} (keras)"
        )
        parser.add_argument("--epochs", default=epochs, type=int, help=f"({epochs})")
        parser.add_argument("--seed", default=0, type=int, help="of the split and of training (0)")
        parser.add_argument("--picture", type=Path, help="draw the curves to this file, e.g. curves.png")
        return parser.parse_args(arguments, namespace=cls())

    def split(self) -> tuple[Interactions, Interactions]:
        """Return the ratings, but for a random 20 %, and these."""
        look_beside()
        return splits.ratio(datasets.movielens(self.data), test=0.2, seed=self.seed)

    def draw(self, curves: Mapping[str, Sequence[float]], label: str, *, logarithmic: bool = False) -> None:
        """Draw curves by epoch, where a picture is wanted."""
        if self.picture is None:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for name, values in curves.items():
            axes.plot(range(1, len(values) + 1), values, label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.set_yscale("log" if logarithmic else "linear")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
        with replacing(self.picture) as temporary:
            figure.savefig(temporary, format=self.picture.suffix.removeprefix("."), dpi=120)


def table(rows: Sequence[tuple[str, float]], heading: tuple[str, str]) -> str:
    """Return rows of names and numbers as aligned text."""
    width = max(len(heading[0]), *(len(name) for name, _ in rows))
    lines = [f"{heading[0]:{width}}  {heading[1]}", *(f"{name:{width}}  {value:.4f}" for name, value in rows)]
    return "\n".join(lines)
