"""Runs of the reference engine in float64, each done once for all engines and dtypes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfcore.engines import TrainingJob, registry
from mfcore.files import replacing
from mfcore.testing._cells import Cell, small_data_cut
from mfcore.testing._deviations import Outcome
from mfcore.testing._own_jobs import OwnJob
from mfcore.testing._runs import Run


class References:
    """The outcomes that engines are compared with.

    Parameters
    ----------
    folder : Path, optional
        Of this program's own, where they are kept for other processes too.

    Examples
    --------
    >>> from mfcore.testing import RUNS, Cell, References
    >>> references, cell = References(), Cell("mf", "squared", "sgd", "float64")
    >>> sorted(references.first_step(cell).parameters)
    ['item_factors', 'user_factors']
    >>> int(references.whole(cell).state["step"][0])
    106
    >>> 0 < references.quality(RUNS[0]) < 2
    True
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._kept: dict[str, Any] = {}

    def first_step(self, subject: Cell | OwnJob) -> Outcome:
        """Return the outcome of the first step.

        Parameters
        ----------
        subject : Cell or OwnJob

        Returns
        -------
        Outcome
            In float64, whatever the subject's dtype.
        """
        exact = subject.exact
        outcome: Outcome = self._once(f"{exact}, 1 step", lambda: _train(exact.first_step(), 1))
        return outcome

    def whole(self, subject: Cell | OwnJob) -> Outcome:
        """Return the outcome of the whole run.

        Parameters
        ----------
        subject : Cell or OwnJob

        Returns
        -------
        Outcome
            In float64, whatever the subject's dtype.
        """
        exact = subject.exact
        outcome: Outcome = self._once(f"{exact}", lambda: _train(exact.job(), exact.epochs))
        return outcome

    def quality(self, run: Run | OwnJob) -> float:
        """Return the quality of a run's model.

        Parameters
        ----------
        run : Run or OwnJob

        Returns
        -------
        float
            In the run's metric, of a model trained in float64.
        """
        exact = run.exact
        quality: float = self._once(
            f"{exact}, quality", lambda: exact.quality(exact.train(registry.get(registry.REFERENCE)))
        )
        return quality

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self._kept:
            path = None if self.folder is None else self.folder / name
            if path is not None and path.exists():
                self._kept[name] = pickle.loads(path.read_bytes())
            else:
                self._kept[name] = compute()
                self._share(path, self._kept[name])
        return self._kept[name]

    def _share(self, path: Path | None, found: Any) -> None:
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_bytes(pickle.dumps(found))


def _train(job: TrainingJob, epochs: int) -> Outcome:
    with small_data_cut():
        return Outcome.of(registry.get(registry.REFERENCE), job, epochs)
