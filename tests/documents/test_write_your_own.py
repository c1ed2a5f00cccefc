"""A person's own loss, rule, output and model, each written once, as docs/write_your_own.md has them."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import mfcore
from mfcore.testing import verify_job

FRAMEWORKS = {"reference": "numpy", "numba": "numba", "torch": "torch", "keras": "tensorflow"}


def engine(name):
    """Return a parameter that is skipped where an engine's framework is missing."""
    missing = find_spec(FRAMEWORKS[name]) is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason=f"{FRAMEWORKS[name]} is not installed")
    )


DIFFERENTIATING = [engine(name) for name in ("reference", "torch", "keras")]
EVERY = [engine(name) for name in FRAMEWORKS]


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(30 * 20)[:300], 20)
    return mfcore.Interactions.from_columns(users, items, rng.poisson(2.0, 300) + 1.0)


def jobs(parts):
    """Return settings of `fit` by what is one's own in them; Adadelta's epsilon keeps roots away from 0."""
    rule = parts.Adadelta(l2=0.001)
    return {
        "hinge": {"objective": parts.PairwiseHinge(0.5), "optimizer": rule, "n_negatives": 2},
        "poisson": {"objective": parts.Poisson(), "optimizer": rule},
        "output": {"objective": "squared", "optimizer": mfcore.Adam(0.01, epsilon=1e-4)},
    }


@pytest.mark.parametrize("what", ["hinge", "poisson"])
@pytest.mark.parametrize("backend", EVERY)
def test_own_losses_and_rules_are_those_of_the_reference_on_every_engine(own_parts, backend, what):
    verify_job(mfcore.MF(6, biases=True), backends=[backend], batch_size=32, **jobs(own_parts)[what])


@pytest.mark.parametrize("what", ["hinge", "poisson", "output"])
@pytest.mark.parametrize("backend", DIFFERENTIATING)
def test_an_own_model_and_output_are_those_of_the_reference(own_parts, backend, what):
    output = own_parts.Exponential() if what == "output" else mfcore.Linear()
    spec = own_parts.TemperatureMF(4, output=output)
    verify_job(spec, backends=[backend], batch_size=32, **jobs(own_parts)[what])


@pytest.mark.parametrize("backend", [engine("numba")])
def test_numba_takes_an_own_output_and_says_who_takes_an_own_model(own_parts, backend):
    verify_job(
        mfcore.MF(4, output=own_parts.Exponential()),
        backends=[backend],
        batch_size=32,
        **jobs(own_parts)["output"],
    )
    data = mfcore.data.synthetic(200, n_users=20, n_items=15, seed=0).interactions
    with pytest.raises(mfcore.MfcoreError, match=r"TemperatureMF.*(torch|keras|reference)"):
        mfcore.fit(own_parts.TemperatureMF(4), data, optimizer="adam", batch_size=32, backend=backend)


@pytest.mark.parametrize("base", [mfcore.BPR, mfcore.InBatchSoftmax], ids=["pairwise", "in-batch"])
@pytest.mark.parametrize("backend", DIFFERENTIATING)
def test_comparisons_may_be_weighted(own_parts, counts, backend, base):
    class Weighted(base):
        short_name = f"weighted-{base.short_name}"

        def weights(self, values):
            return values

    settings = {"optimizer": mfcore.SGD(0.1), "n_negatives": 2 if base is mfcore.BPR else 0}
    verify_job(mfcore.MF(4), counts, backends=[backend], batch_size=32, objective=Weighted(), **settings)
    if backend == "torch":
        with pytest.raises(mfcore.MfcoreError, match="weights of pairs alone"):
            mfcore.fit(mfcore.MF(4), counts, objective=Weighted(), backend="numba", batch_size=32, **settings)


@pytest.mark.parametrize("backend", DIFFERENTIATING)
def test_own_parts_are_saved_loaded_resumed_and_folded_in(own_parts, counts, backend, tmp_path):
    spec = own_parts.TemperatureMF(4, output=own_parts.Exponential())
    settings = {
        "objective": own_parts.Poisson(),
        "optimizer": own_parts.Adadelta(l2=0.001),
        "batch_size": 64,
        "backend": backend,
        "dtype": "float64",
    }
    whole = mfcore.fit(spec, counts, epochs=4, **settings)
    half = mfcore.fit(spec, counts, epochs=2, **settings)
    half.save(tmp_path / "half.safetensors", optimizer_state=True)
    loaded = mfcore.load(tmp_path / "half.safetensors")
    assert loaded.spec == spec
    resumed = mfcore.fit(loaded.spec, counts, epochs=4, resume=loaded, **settings)
    for name, array in whole.parameters.items():
        np.testing.assert_allclose(resumed.parameters[name], array, rtol=1e-9, atol=1e-12)
    assert (whole.predict([1, 2], [3, 4]) > 0).all()
    folded = whole.fold_in([1, 2, 3], [4.0, 1.0, 2.0])
    assert len(folded.recommend(3).items) == 3


@pytest.mark.parametrize("backend", [engine("torch"), engine("keras")])
def test_a_loss_without_a_slope_is_differentiated_and_refused_where_nobody_does(own_parts, counts, backend):
    class Without(own_parts.Poisson):
        short_name = "poisson-without-slope"

        def terms(self, xp):
            whole = super().terms(xp)
            return lambda score, target, c: whole(score, target, c)[:2]

    settings = {
        "optimizer": mfcore.Adam(0.01, epsilon=1e-4),
        "batch_size": 64,
        "epochs": 2,
        "dtype": "float64",
    }
    found, expected = (
        mfcore.fit(mfcore.MF(4), counts, objective=loss(), backend=backend, **settings)
        for loss in (Without, own_parts.Poisson)
    )
    for name, array in expected.parameters.items():
        np.testing.assert_allclose(found.parameters[name], array, rtol=1e-9, atol=1e-12)
    with pytest.raises(mfcore.MfcoreError, match="gives no slope"):
        mfcore.fit(mfcore.MF(4), counts, objective=Without(), backend="reference", **settings)


def test_what_the_document_shows_runs(own_parts, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks("docs/write_your_own.md")[1:]:
        exec(compile(block, "docs/write_your_own.md", "exec"), namespace)
    said = capsys.readouterr().out
    assert "Ranking" in said
    assert "reference" in said


def test_own_parts_are_known_on_the_command_line(own_parts, counts, tmp_path):
    table = [
        "user,item,rating",
        *(f"{u},{i},{v:g}" for u, i, v in zip(counts.users, counts.items, counts.values, strict=True)),
    ]
    (tmp_path / "counts.csv").write_text("\n".join(table))
    command = [sys.executable, "-m", "mfcore", "train", "counts.csv", "--plugin", own_parts.__file__]
    named = ["--model", "temperature-mf", "--objective", "poisson", "--optimizer", "adadelta"]
    done = subprocess.run(
        [*command, *named, "--rho", "0.9", "--epochs", "2", "--out", "own.safetensors"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert mfcore.load(tmp_path / "own.safetensors").spec == own_parts.TemperatureMF()
