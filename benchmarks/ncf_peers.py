"""NeuMF in plain PyTorch and by Keras `fit`: build, train, and the seconds of an epoch with its sampling.

The model is that of X. He et al., "Neural Collaborative Filtering", WWW 2017, trained with Adam on the log
loss: score = h . [p_u * q_i, tower(p'_u, q'_i)], the product and the tower with embeddings of their own.
Without layers it is their GMF, without factors their MLP. Of what was tried for each framework (index types,
fused steps, compilers, input pipelines) the fastest is kept.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from benchmarks.judging import hit_rate
from benchmarks.ours import THREADS
from benchmarks.peers import load
from benchmarks.results import Result
from mfcore import Interactions
from mfcore.data import NcfSplit, SeenItems, Vocabulary

Rows = npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]
Score = Callable[[Rows, Rows], Floats]
NcfPeer = Callable[..., "NcfTraining"]

LEARNING_RATE = 0.001
EMBEDDING_STD = 0.01
# Returns to Python are dear beside a batch of 256; from 16 to 64 steps it makes no difference any more.
KERAS_STEPS_PER_EXECUTION = 64
PAIRS_PER_PREDICTION = 65_536


class Instances(NamedTuple):
    """What an epoch shows, in this order; arrays of equal length."""

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    targets: npt.NDArray[np.float32]

    def first(self, n: int | None) -> "Instances":
        """Return the first n of them, or all."""
        return Instances(self.users[:n], self.items[:n], self.targets[:n])


# Trains on the instances and returns their mean log loss.
TrainEpoch = Callable[[Instances], float]


class Epoch(NamedTuple):
    """One epoch of a run.

    Attributes
    ----------
    seconds : float
        Of a whole epoch: its sampling, and the training, scaled up where it was on a part of the instances.
    log_loss : float
        Mean over the instances trained on, each at its batch's turn.
    """

    seconds: float
    log_loss: float


@dataclass(frozen=True, eq=False)
class NcfTraining:
    """A finished run.

    Attributes
    ----------
    epochs : list of Epoch
        The first one compiles and traces.
    n_instances : int
        Of a whole epoch.
    share : float
        Part of them that each epoch trained on, up to 1.
    first_epoch : float or None
        Seconds from the call to the end of the first epoch; None if that was not a whole one.
    score : function of (user rows [n], item rows [n])
        Returns the scores (logits), float32 [n].
    """

    epochs: Sequence[Epoch]
    n_instances: int
    share: float
    first_epoch: float | None
    score: Score

    @property
    def epoch_seconds(self) -> float:
        """Of a whole epoch: the median, the first epoch left aside."""
        return median(epoch.seconds for epoch in self.epochs[1:])

    def as_model(self, data: Interactions) -> "PairScorer":
        """Return what `mfcore.evaluate` takes for a model."""
        return PairScorer(self.score, data.user_ids, data.item_ids, data.seen)

    def result(self, task: str, setting: str, engine: str, split: NcfSplit, **further: Any) -> Result:
        """Return the result of the run: seconds and rate of an epoch; `further` are fields of `Result`.

        HR@10 is of those who have seen whole epochs.
        """
        quality = {"log loss": self.epochs[-1].log_loss, "epochs": len(self.epochs) * self.share}
        if self.share == 1:
            quality["HR@10"] = hit_rate(self.as_model(split.train), split)
        return Result(
            task,
            setting,
            engine,
            self.epoch_seconds,
            "epoch",
            rate=self.n_instances / self.epoch_seconds,
            unit="instances",
            first=self.first_epoch,
            quality=quality,
            **further,
        )


@dataclass(frozen=True, eq=False)
class PairScorer:
    """Any function that scores pairs of rows, with the ids and seen items of its training data.

    Ids outside the training data's vocabularies (row -1) have no score here.
    """

    score: Score
    user_ids: Vocabulary
    item_ids: Vocabulary
    seen: SeenItems

    def score_pairs(self, user_rows: Rows, item_rows: Rows, /) -> Floats:
        return self.score(user_rows, item_rows)

    def predict_pairs(self, user_rows: Rows, item_rows: Rows, /) -> Floats:
        probabilities: Floats = expit(self.score(user_rows, item_rows))
        return probabilities

    def score_catalogue(self, user_rows: Rows, /) -> Floats:
        n_items = len(self.item_ids)
        items = np.tile(np.arange(n_items), len(user_rows))
        return self.score(np.repeat(user_rows, n_items), items).reshape(len(user_rows), n_items)


class Sampler:
    """Lists an epoch: every interaction, and for each some uniform items that its user has not seen.

    Seen pairs are drawn anew, looked up in a table of n_users x n_items bytes: the fastest way at this size.
    """

    def __init__(self, data: Interactions, n_negatives: int, seed: int) -> None:
        self.n_items = data.n_items
        self.n_positives = len(data)
        self.users = np.tile(data.users, 1 + n_negatives)
        self.positives = data.items
        self.seen = np.zeros((data.n_users, data.n_items), dtype=np.bool_)
        self.seen[data.users, data.items] = True
        self.generator = np.random.default_rng(seed)

    def epoch(self) -> Instances:
        """Return the instances of a new epoch, shuffled."""
        items = np.concatenate([self.positives, self._draw(len(self.users) - self.n_positives)])
        again = np.arange(self.n_positives, len(items))
        while (again := again[self.seen[self.users[again], items[again]]]).size:
            items[again] = self._draw(again.size)
        order = self.generator.permutation(len(items))
        targets = (order < self.n_positives).astype(np.float32)
        return Instances(self.users[order], items[order], targets)

    def _draw(self, n: int) -> npt.NDArray[np.int32]:
        return self.generator.integers(self.n_items, size=n, dtype=np.int32)


def torch_loop(
    data: Interactions,
    *,
    n_factors: int,
    layers: Sequence[int],
    n_negatives: int,
    batch_size: int,
    epochs: int,
    seed: int,
    max_instances: int | None = None,
) -> NcfTraining:
    """Train by a loop over slices of tensors, with the fused Adam, on the processor.

    Parameters
    ----------
    data : Interactions
        The training part; every interaction is a positive.
    n_factors : int
        Of the product's embeddings; 0 for no product.
    layers : sequence of int
        Widths of the tower; the first is that of its two embeddings together. None for no tower.
    epochs : int
        From 2.
    max_instances : int, optional
        Train on no more instances an epoch; the whole epoch is sampled all the same.
    """
    torch = load("torch")
    start = time.perf_counter()
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    model = torch_neumf(torch, data.n_users, data.n_items, n_factors, layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    loss_of = torch.nn.BCEWithLogitsLoss()

    def train_epoch(instances: Instances) -> float:
        users, items, targets = (torch.from_numpy(column) for column in instances)
        # Embeddings go faster by int64 than by int32.
        columns = users.long(), items.long(), targets
        total = torch.zeros(())
        for batch in zip(*(column.split(batch_size) for column in columns), strict=True):
            *rows, target = batch
            optimizer.zero_grad()
            loss = loss_of(model(*rows), target)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(target)
        return float(total) / len(targets)

    def score(user_rows: Rows, item_rows: Rows) -> Floats:
        users, items = (torch.from_numpy(rows.astype(np.int64)) for rows in (user_rows, item_rows))
        parts = zip(users.split(PAIRS_PER_PREDICTION), items.split(PAIRS_PER_PREDICTION), strict=True)
        with torch.no_grad():
            scores: Floats = torch.cat([model(*rows) for rows in parts]).numpy()
        return scores

    return timed(
        train_epoch,
        score,
        Sampler(data, n_negatives, seed),
        epochs=epochs,
        max_instances=max_instances,
        start=start,
    )


def torch_neumf(torch: Any, n_users: int, n_items: int, n_factors: int, layers: Sequence[int]) -> Any:
    """Return an untrained NeuMF as a `torch.nn.Module` of user and item rows."""
    from torch import nn

    def embedding(n_rows: int, width: int) -> Any:
        made = nn.Embedding(n_rows, width)
        nn.init.normal_(made.weight, std=EMBEDDING_STD)
        return made

    def dense(n_in: int, n_out: int) -> Any:
        # As Keras starts them, and the authors' code with it.
        made = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(made.weight)
        nn.init.zeros_(made.bias)
        return made

    def tower() -> Iterator[Any]:
        for n_in, n_out in pairwise(layers):
            yield dense(n_in, n_out)
            yield nn.ReLU()

    class NeuMF(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if n_factors:
                self.product_user = embedding(n_users, n_factors)
                self.product_item = embedding(n_items, n_factors)
            if layers:
                self.tower_user = embedding(n_users, layers[0] // 2)
                self.tower_item = embedding(n_items, layers[0] // 2)
            self.tower = nn.Sequential(*tower())
            self.output = dense(n_factors + sum(layers[-1:]), 1)

        def forward(self, users: Any, items: Any) -> Any:
            ends = []
            if n_factors:
                ends.append(self.product_user(users) * self.product_item(items))
            if layers:
                ends.append(self.tower(torch.cat([self.tower_user(users), self.tower_item(items)], dim=1)))
            return self.output(torch.cat(ends, dim=1) if len(ends) > 1 else ends[0]).squeeze(1)

    return NeuMF()


def keras_fit(
    data: Interactions,
    *,
    n_factors: int,
    layers: Sequence[int],
    n_negatives: int,
    batch_size: int,
    epochs: int,
    seed: int,
    max_instances: int | None = None,
) -> NcfTraining:
    """Train by `fit` on a tf.data pipeline of ready batches, on the processor; arguments as in `torch_loop`.

    Keras 3.15 on TensorFlow does not add up the gradients of an id that a batch repeats before Adam squares
    them: its log loss may differ from the others' by more than chance.
    """
    tensorflow, keras = load_keras()
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    with tensorflow.device("CPU:0"):
        model = keras_neumf(keras, data.n_users, data.n_items, n_factors, layers)
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        steps_per_execution=KERAS_STEPS_PER_EXECUTION,
    )

    def train_epoch(instances: Instances) -> float:
        with tensorflow.device("CPU:0"):
            history = model.fit(
                ready_batches(tensorflow, instances, batch_size), shuffle=False, verbose=0
            ).history
        return float(history["loss"][0])

    def score(user_rows: Rows, item_rows: Rows) -> Floats:
        rows = [user_rows.astype(np.int32), item_rows.astype(np.int32)]
        with tensorflow.device("CPU:0"):
            scores: Floats = model.predict(rows, batch_size=PAIRS_PER_PREDICTION, verbose=0)
        return scores[:, 0]

    return timed(
        train_epoch,
        score,
        Sampler(data, n_negatives, seed),
        epochs=epochs,
        max_instances=max_instances,
        start=start,
    )


@cache
def load_keras() -> tuple[Any, Any]:
    """Return TensorFlow, told its number of threads, and Keras on it; skip where one is not installed."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    tensorflow = load("tensorflow")
    keras = load("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"Keras already runs on {keras.backend.backend()} in this process: start a new one")
    tensorflow.config.threading.set_intra_op_parallelism_threads(THREADS)
    tensorflow.config.threading.set_inter_op_parallelism_threads(THREADS)
    return tensorflow, keras


def keras_neumf(keras: Any, n_users: int, n_items: int, n_factors: int, layers: Sequence[int]) -> Any:
    """Return an untrained NeuMF as a functional Keras model of user and item rows."""
    users, items = (keras.Input((), dtype="int32", name=name) for name in ("users", "items"))

    def embedding(n_rows: int, width: int, rows: Any) -> Any:
        initializer = keras.initializers.RandomNormal(stddev=EMBEDDING_STD)
        return keras.layers.Embedding(n_rows, width, embeddings_initializer=initializer)(rows)

    def both(width: int) -> list[Any]:
        return [embedding(n_users, width, users), embedding(n_items, width, items)]

    ends = [keras.layers.Multiply()(both(n_factors))] if n_factors else []
    if layers:
        tower = keras.layers.Concatenate()(both(layers[0] // 2))
        for units in layers[1:]:
            tower = keras.layers.Dense(units, activation="relu")(tower)
        ends.append(tower)
    score = keras.layers.Dense(1)(keras.layers.Concatenate()(ends) if len(ends) > 1 else ends[0])
    return keras.Model([users, items], score)


def ready_batches(tensorflow: Any, instances: Instances, batch_size: int) -> Any:
    """Return a tf.data pipeline whose elements are batches from the start, the last one the rest.

    `batch` would gather them instance by instance, and `fit` slices arrays more slowly.
    """
    dataset = tensorflow.data.Dataset
    n_full, n_rest = divmod(len(instances.users), batch_size)
    users, items, targets = instances.users, instances.items, instances.targets[:, None]

    def full(column: Any) -> Any:
        return column[: n_full * batch_size].reshape(n_full, batch_size, *column.shape[1:])

    batches = dataset.from_tensor_slices(((full(users), full(items)), full(targets)))
    if n_rest:
        rest = (users[-n_rest:], items[-n_rest:]), targets[-n_rest:]
        batches = batches.concatenate(dataset.from_tensors(rest))
    return batches.prefetch(tensorflow.data.AUTOTUNE)


def timed(
    train_epoch: TrainEpoch,
    score: Score,
    sampler: Sampler,
    *,
    epochs: int,
    max_instances: int | None,
    start: float,
) -> NcfTraining:
    """Run the epochs, each sampled anew, and time the sampling and the training of each."""
    n_instances = len(sampler.users)
    share = 1.0 if max_instances is None else min(1.0, max_instances / n_instances)
    done: list[Epoch] = []
    first_epoch = 0.0
    for number in range(epochs):
        began = time.perf_counter()
        instances = sampler.epoch()
        sampled = time.perf_counter()
        log_loss = train_epoch(instances.first(max_instances))
        ended = time.perf_counter()
        done.append(Epoch(sampled - began + (ended - sampled) / share, log_loss))
        if number == 0:
            first_epoch = ended - start
    return NcfTraining(done, n_instances, share, first_epoch if share == 1 else None, score)
