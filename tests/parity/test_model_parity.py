"""Engines against the reference engine: every model with every objective and optimizer.

Every cell has repeated ids, an uneven last batch, a change of the learning rate and regularisation, and
takes about 100 steps. Pointwise MF is in `test_gradient_parity`.

In float64 every single array agrees to 1e-9. In float32 the distance of the whole model is measured, all
arrays together, and that of all arrays of a slot: a single array may hardly move beside its size, such as the
constant of an output unit, or have gradients that cancel but for rounding, and then the rounding of a hundred
steps is more than 1e-5 of what it moved.

Widths are the same throughout, so that few kernels have to be compiled.
"""

from dataclasses import replace

import pytest

import mfcore

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def falling(initial):
    return mfcore.Schedule(initial, factor=0.5)


L2 = {"l2": 0.02, "l2_dense": 0.01}
# Rates at which a hundred steps move the parameters well beyond the rounding of float32.
OPTIMIZERS = {
    "sgd": mfcore.SGD(learning_rate=falling(0.1), **L2),
    "momentum": mfcore.SGD(learning_rate=falling(0.02), momentum=0.9, **L2),
    "nesterov": mfcore.SGD(learning_rate=falling(0.02), momentum=0.9, nesterov=True, **L2),
    "adagrad": mfcore.Adagrad(learning_rate=falling(0.1), **L2),
    # With the default epsilons, gradients that cancel but for rounding would make whole steps.
    "rmsprop": mfcore.RMSprop(learning_rate=falling(0.01), epsilon=1e-4, **L2),
    "adam": mfcore.Adam(learning_rate=falling(0.01), epsilon=1e-5, **L2),
    # 1 - rate * decay is a number of float32: rounded, it would pull every parameter the same way.
    "adamw": mfcore.AdamW(learning_rate=falling(2**-7), weight_decay=2**-3, epsilon=1e-5, **L2),
    "lazyadam": mfcore.LazyAdam(learning_rate=falling(0.01), epsilon=1e-5, **L2),
}
INIT = mfcore.Normal(0.3)
LAYERS, ENDS = (10, 9, 5), (9, 5)
MODELS = {
    "mf": mfcore.MF(7, biases=True, init=INIT),
    "gmf": mfcore.GMF(7, init=INIT),
    "gmf with biases": mfcore.GMF(7, biases=True, init=INIT),
    "two towers": mfcore.TwoTower(7, init=INIT),
    "two towers with layers": mfcore.TwoTower(7, ENDS, "tanh", init=INIT),
    "mlp, tanh": mfcore.MLP(LAYERS, "tanh", init=INIT),
    "mlp, sigmoid": mfcore.MLP(LAYERS, "sigmoid", init=mfcore.Normal(0.6)),
    "mlp, relu": mfcore.MLP(LAYERS, "relu", init=INIT),
    "neumf": mfcore.NeuMF(7, LAYERS, "tanh", init=INIT),
    "neumf, projected": mfcore.NeuMF(7, LAYERS, "tanh", "projected", init=INIT),
}
POINTWISE = {
    "squared": {"objective": "squared"},
    "weighted": {"objective": mfcore.WeightedSquared(alpha=0.5), "n_negatives": 1},
    "logistic": {"objective": "logistic", "n_negatives": 1},
}
PAIRWISE = {"bpr": {"objective": "bpr", "n_negatives": 2}}
IN_BATCH = {
    "softmax": {"objective": mfcore.InBatchSoftmax(temperature=0.7)},
    "softmax with hits": {
        "objective": mfcore.InBatchSoftmax(temperature=1.5, logq=False, remove_accidental_hits=False)
    },
}
# SGD may take larger steps where targets, and so errors, are at most 1.
FASTER = {"weighted": 2, "logistic": 5, "bpr": 10, "softmax": 5, "softmax with hits": 10}
OBJECTIVES = {**POINTWISE, **PAIRWISE, **IN_BATCH}


def objectives_of(model):
    pointwise = {} if isinstance(model, mfcore.MF) else POINTWISE
    return [*pointwise, *PAIRWISE, *(IN_BATCH if model.is_inner_product else ())]


CELLS = [(model, objective) for model in MODELS for objective in objectives_of(MODELS[model])]


def job_for(job_of, data, model, objective, optimizer, dtype):
    settings = OBJECTIVES[objective]
    if isinstance(optimizer, mfcore.SGD):
        rate = optimizer.learning_rate.initial * FASTER.get(objective, 1)
        optimizer = replace(optimizer, learning_rate=falling(rate))
    n_negatives = settings.get("n_negatives", 0)
    instances = n_negatives if objective in PAIRWISE else 1 + n_negatives
    job = job_of(
        model, data, **settings, optimizer=optimizer, batch_size=23 * instances, threads=2, dtype=dtype
    )
    return replace(
        job, parameters={name: away_from_zero(name, array) for name, array in job.parameters.items()}
    )


def away_from_zero(name, array):
    """Return biases moved: about 0 a sigmoid is a line, of which BPR, a difference, tells them nothing."""
    return array + array.dtype.type(0.5) if name.endswith("bias") else array


# The last varies slowest: tests of one kernel follow one another, so that processes compile different ones.
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("model", "objective"), CELLS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_models_agree_with_the_reference(
    engine, ratings, job_of, deviation, optimizer, model, objective, dtype
):
    job = job_for(job_of, ratings, MODELS[model], objective, OPTIMIZERS[optimizer], dtype)
    found = deviation(engine, job, epochs=2)
    per_array = dtype == "float64"
    assert (found.parameters if per_array else found.whole_parameters) <= TOLERANCE[dtype]
    assert (found.state if per_array else found.whole_state) <= TOLERANCE[dtype]
    assert found.objective <= TOLERANCE[dtype]
