"""The suite as pytest classes, to be subclassed for an engine of one's own."""

# ruff: noqa: D102, for the names of tests are sentences.

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from mfcore.data import Interactions
from mfcore.engines import Backend, Gap, StreamBackend, TrainingJob, registry
from mfcore.testing import _requirements as requirements
from mfcore.testing import _streams as streams
from mfcore.testing._cells import Cell, Selection, cells, small_data_cut
from mfcore.testing._evaluation import Finding, measure, subjects
from mfcore.testing._formatting import format_failure
from mfcore.testing._gaps import Named, covers, refusal
from mfcore.testing._known_answers import KnownAnswer
from mfcore.testing._references import References
from mfcore.testing._requirements import Requirement
from mfcore.testing._runs import Run

REFERENCES = References()
# What the tests' arguments are.
SORTS = {"cell": Cell, "run": Run, "known_answer": KnownAnswer, "requirement": Requirement}
LONG_SEED = 2**63 - 1
# Just below and above powers of two, of which the shuffle's domain is one.
LENGTHS = (1, 2, 15, 17, 1_023, 1_024, 1_025)
SLICES = {"the first": (0, 1), "some": (1_234, 3_456), "the last": (-1, None)}


class OfEngine:
    """What all tests of an engine need to know.

    Attributes
    ----------
    backend : str or Backend
        The engine's name in the registry, or the engine itself.
    gaps : sequence of Gap, or None
        What it does not do, with the reasons; None takes those that the engine declares, or none.
    selection : "quick", "standard" or "every"
        How many cells it is compared on: quick takes a minute or two where standard takes ten, and every is
        the whole product.
    device : str
        Where it trains and shows its stream. A suite for a device that a machine may lack is to be skipped
        there: what an engine refuses is a failure.

    Examples
    --------
    >>> from mfcore.engines.reference import backend
    >>> from mfcore.testing import Cell
    >>> from mfcore.testing.conformance import OfEngine
    >>> class TestMine(OfEngine):
    ...     backend = "reference"
    >>> cell = Cell("mf", "squared", "adam", "float64")
    >>> TestMine().known_gaps(backend)
    ()
    >>> TestMine().require(backend, cell, cell.job())
    """

    backend: ClassVar[str | Backend]
    gaps: ClassVar[Sequence[Gap] | None] = None
    selection: ClassVar[Selection] = "standard"
    device: ClassVar[str] = "cpu"

    @pytest.fixture
    def engine(self) -> Backend:
        """Return the engine; skip, with the reason, where its framework is not installed."""
        if not isinstance(self.backend, str):
            return self.backend
        try:
            return registry.get(self.backend)
        except registry.BackendMissingError as error:
            pytest.skip(str(error))

    def require(self, engine: Backend, subject: Named, job: TrainingJob) -> None:
        """Skip, with the reason, what is a gap; fail where engine and gaps do not agree.

        Parameters
        ----------
        engine : Backend
        subject : Cell, Run, KnownAnswer or StreamCase
        job : TrainingJob
            Of the subject.
        """
        refused = refusal(engine, subject, job, self.known_gaps(engine))
        if refused is not None:
            pytest.skip(f"{engine.name}: {refused.reason}")

    def known_gaps(self, engine: Backend) -> Sequence[Gap]:
        """Return what the engine is declared not to do.

        Parameters
        ----------
        engine : Backend

        Returns
        -------
        sequence of Gap
        """
        return self.gaps if self.gaps is not None else getattr(engine, "gaps", ())


class StreamConformance(OfEngine):
    """The sample stream of an engine that exposes it is the core's, bit for bit.

    Examples
    --------
    >>> from mfcore.testing.conformance import StreamConformance
    >>> class TestTheStreamOfMine(StreamConformance):
    ...     backend = "mine"
    >>> TestTheStreamOfMine.device
    'cpu'
    """

    @pytest.fixture
    def streaming(self, engine: Backend) -> StreamBackend:
        """Return the engine; skip where it does not expose its stream."""
        if not isinstance(engine, StreamBackend):
            pytest.skip(f"{engine.name}: it does not expose its stream: it has no method `instances`")
        return engine

    @pytest.mark.parametrize("seed", [0, LONG_SEED])
    @pytest.mark.parametrize("case", streams.STREAM_CASES)
    def test_an_epoch_shows_what_the_core_defines(
        self, streaming: StreamBackend, case: str, seed: int
    ) -> None:
        job = self.able(streaming, streams.STREAM_CASES[case], streams.uneven(), seed)
        for epoch in (0, 1, 7):
            self.assert_shown(streaming, job, epoch, 0, job.n_instances)

    @pytest.mark.parametrize("part", SLICES)
    @pytest.mark.parametrize("case", streams.STREAM_CASES)
    def test_any_slice_can_be_had_alone(self, streaming: StreamBackend, case: str, part: str) -> None:
        job = self.able(streaming, streams.STREAM_CASES[case], streams.uneven(), 11)
        start, stop, _ = slice(*SLICES[part]).indices(job.n_instances)
        self.assert_shown(streaming, job, 3, start, stop)

    @pytest.mark.parametrize("n", LENGTHS)
    def test_any_number_of_instances_is_shuffled_within_itself(
        self, streaming: StreamBackend, n: int
    ) -> None:
        data = streams.uneven().select(range(n))
        job = self.able(streaming, streams.STREAM_CASES["interactions alone"], data, 0, batch_size=1)
        self.assert_shown(streaming, job, 0, 0, n)

    @pytest.mark.parametrize("case", streams.HUGE)
    def test_an_epoch_may_have_more_instances_than_32_bits_can_count(
        self, streaming: StreamBackend, case: str
    ) -> None:
        job = self.able(streaming, streams.HUGE[case], streams.few(), 5)
        assert 2**39 < job.n_instances < 2**40
        for start in (2**31 - 100, 2**32 - 100, job.n_instances - 200):
            self.assert_shown(streaming, job, 1, start, start + 200)

    def able(
        self, engine: Backend, case: streams.StreamCase, data: Interactions, seed: int, **settings: Any
    ) -> TrainingJob:
        """Return the job of a case; skip or fail as `require` does.

        Parameters
        ----------
        engine : Backend
        case : StreamCase
        data : Interactions
        seed : int
        **settings : object
            Replace those of the case.

        Returns
        -------
        TrainingJob

        Examples
        --------
        >>> from mfcore.engines.reference import backend
        >>> from mfcore.testing import _streams as streams
        >>> from mfcore.testing.conformance import StreamConformance
        >>> class TestMine(StreamConformance):
        ...     backend = "reference"
        >>> case = streams.STREAM_CASES["interactions alone"]
        >>> TestMine().able(backend, case, streams.uneven(), seed=0).seed
        0
        """
        job = case.job(data, seed, self.device, **settings)
        self.require(engine, case, job)
        return job

    @staticmethod
    def assert_shown(engine: StreamBackend, job: TrainingJob, epoch: int, start: int, stop: int) -> None:
        """Assert that exactly what the core defines is shown.

        Parameters
        ----------
        engine : StreamBackend
        job : TrainingJob
        epoch, start, stop : int
            Positions [start, stop) of an epoch.

        Examples
        --------
        The core's own stream, as an engine that exposes it:

        >>> from types import SimpleNamespace
        >>> import numpy as np
        >>> from mfcore.engines import StreamSlice
        >>> from mfcore.sampling import shuffled_instances
        >>> from mfcore.testing import Cell
        >>> from mfcore.testing.conformance import StreamConformance
        >>> def instances(job, epoch, start, stop):
        ...     shown = shuffled_instances(
        ...         job.data, job.sampling, seed=job.seed, epoch=epoch, positions=np.arange(start, stop)
        ...     )
        ...     return StreamSlice(shown.users, shown.items, shown.positive, shown.negatives)
        >>> job = Cell("mf", "squared", "adam", "float64").job()
        >>> StreamConformance.assert_shown(SimpleNamespace(instances=instances), job, 0, 10, 20)
        """
        with small_data_cut():
            assert streams.n_differences(engine, job, epoch, start, stop) == 0


class BackendConformance(StreamConformance):
    """All that is asked of an engine.

    Examples
    --------
    Subclass it in a test module:

    >>> from mfcore.testing.conformance import BackendConformance, Gap
    >>> class TestMine(BackendConformance):
    ...     backend = "mine"
    ...     gaps = (Gap("it knows no other update rule", optimizers=["adam", "rmsprop"]),)
    ...     selection = "quick"
    """

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test what the selection has for it."""
        for name, sort in SORTS.items():
            if name in metafunc.fixturenames:
                chosen = [subject for subject in subjects(self.selection) if isinstance(subject, sort)]
                metafunc.parametrize(name, chosen, ids=str)

    def test_it_agrees_with_the_reference(self, engine: Backend, cell: Cell) -> None:
        self.assert_held(engine, cell)

    def test_a_whole_run_comes_to_the_reference_s_quality(self, engine: Backend, run: Run) -> None:
        self.assert_held(engine, run)

    def test_it_finds_the_answer_that_is_known(self, engine: Backend, known_answer: KnownAnswer) -> None:
        self.assert_held(engine, known_answer)

    def test_it_keeps_the_contract(self, engine: Backend, requirement: Requirement) -> None:
        requirement.require(engine, self.device)

    def test_its_refusals_say_what_to_do(self, engine: Backend) -> None:
        for cell in cells(self.selection):
            reason = engine.unsupported(cell.job(self.device))
            if reason is not None:
                requirements.require_reason(reason)

    def test_every_gap_is_one(self, engine: Backend) -> None:
        for gap in self.known_gaps(engine):
            assert any(covers(gap, cell) for cell in cells()), (
                f"no cell is {gap}: its names are misspelt, or it is out of date"
            )

    def assert_held(self, engine: Backend, subject: Cell | Run | KnownAnswer) -> None:
        """Assert that all that is measured is within what is allowed; skip or fail as `require` does.

        Parameters
        ----------
        engine : Backend
        subject : Cell, Run or KnownAnswer

        Examples
        --------
        >>> from mfcore.engines.reference import backend
        >>> from mfcore.testing import Cell
        >>> from mfcore.testing.conformance import BackendConformance
        >>> class TestMine(BackendConformance):
        ...     backend = "reference"
        >>> TestMine().assert_held(backend, Cell("mf", "squared", "sgd", "float32"))
        """
        self.require(engine, subject, subject.job(self.device))
        found = Finding(engine.name, subject, measure(engine, subject, REFERENCES, self.device))
        assert found.holds, format_failure(found)
