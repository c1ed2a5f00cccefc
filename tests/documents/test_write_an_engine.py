"""The engine of docs/write_an_engine.md, as a reader would put it into a module."""

import sys

import pytest

import mfcore
from mfcore.engines import Backend
from mfcore.testing import verify_job


@pytest.fixture(scope="module")
def jax_engine(blocks, tmp_path_factory):
    pytest.importorskip("jax", reason="JAX, on which the example runs, is not installed")
    folder = tmp_path_factory.mktemp("engine")
    (folder / "mfcore_jax.py").write_text(blocks("docs/write_an_engine.md")[0], encoding="utf-8")
    sys.path.insert(0, str(folder))
    import mfcore_jax

    yield mfcore_jax.backend
    sys.path.remove(str(folder))
    sys.modules.pop("mfcore_jax")


def test_the_listing_is_as_short_as_the_document_says(blocks):
    listing = blocks("docs/write_an_engine.md")[0].rstrip("\n").split("\n")
    assert len(listing) <= 150


def test_the_listing_compiles(blocks):
    compile(blocks("docs/write_an_engine.md")[0], "docs/write_an_engine.md", "exec")


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (mfcore.MF(4, biases=True), {"objective": "bpr", "n_negatives": 1}),
        (mfcore.NeuMF(4, (8, 4)), {"objective": "logistic", "n_negatives": 2}),
        (mfcore.TwoTower(4, layers=(3,)), {"objective": "in_batch_softmax"}),
    ],
    ids=["pairwise", "pointwise", "in-batch"],
)
def test_the_listing_is_an_engine(jax_engine, spec, settings):
    assert isinstance(jax_engine, Backend)
    adam = mfcore.Adam(0.01, l2=0.001, l2_dense=0.001, epsilon=1e-4)
    verify_job(spec, backends=[jax_engine], optimizer=adam, batch_size=64, **settings)
