"""A trained model: predict, recommend, similar items, fold-in, save and load."""

import os
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfcore.data import Interactions, Vocabulary
from mfcore.engines import EvaluationScorer, PositiveRanks, registry
from mfcore.errors import InvalidArgumentError, UnknownIdError
from mfcore.model._file import read_state, write_state
from mfcore.model._fold_in import FoldedUser, fold_in
from mfcore.model._rankings import Ranking, Recommendations
from mfcore.model._state import ModelState, data_fields
from mfcore.model._top_k import top_k
from mfcore.specs import Floats, ModelSpec
from mfcore.validation import require_instance, require_integer

Unknown = Literal["average", "error"]


@dataclass(frozen=True, eq=False)
class Model(ModelState):
    """A spec with trained parameters, and the ids that its rows stand for.

    Cold start: a user or an item without training data, known by id or not, is answered with the mean of
    the parameter rows of those that have training data: an average user, an average item.

    Attributes
    ----------
    spec : ModelSpec
    parameters : dict of name to array
        As `spec.parameter_shapes` says, e.g. ``parameters["item_factors"]`` [n_items, n_factors].
    user_ids, item_ids : Vocabulary
        Row r of a parameter belongs to ``ids[r]``.
    seen : SeenItems
        The items of each user in the training data; `recommend` leaves them out.
    item_names : array [n_items] of str, or None
        Titles.
    training : dict
        How it was trained: objective, optimizer, backend and so on, as plain values.
    history : History
        Every epoch of the run; those from `epochs_trained` on came after these parameters.
    epochs_trained : int
        The epochs that led to these parameters.
    optimizer_state : dict of name to array, or None
        What `fit(resume=...)` continues from.
    scorer : Scorer or None
        The engine's own way to score with these very parameters; None for the core's.

    Examples
    --------
    >>> import mfcore
    >>> data = mfcore.data.synthetic(1_000, n_users=50, n_items=40).interactions
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=2, backend="reference")
    >>> model
    Model(MF(n_factors=2, biases=False, output=Linear(), init=Normal(std=0.01)), 50 users,
          40 items, trained for 2 epochs on reference)
    >>> model.parameters["item_factors"].shape
    (40, 2)
    """

    def __repr__(self) -> str:
        trained = f", trained for {self.epochs_trained} epochs" if self.epochs_trained else ""
        backend = f" on {self.training['backend']}" if "backend" in self.training else ""
        return f"Model({self.spec}, {self.n_users:,} users, {self.n_items:,} items{trained}{backend})"

    # Answers by id

    def predict(self, users: ArrayLike, items: ArrayLike, *, unknown: Unknown = "average") -> Floats:
        """Return the prediction of each (user, item) pair: the score after the output function.

        Parameters
        ----------
        users, items : ids, or sequences of ids [n]
            One id goes with every id of the other argument.
        unknown : "average" or "error"
            What an id without training data gets: the cold-start answer, or an `UnknownIdError`.

        Returns
        -------
        array [n] in the model's dtype, or one number for two single ids

        Raises
        ------
        InvalidArgumentError
            Lengths differ, or `unknown` is neither of the two.
        UnknownIdError
            unknown="error" and an id is not known.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5], [4.0, 2.0, 5.0])
        >>> spec = mfcore.MF(2, biases=True, output=mfcore.RatingRange(1, 5))
        >>> model = mfcore.fit(spec, data, epochs=5, backend="reference")
        >>> model.predict("ann", [5, 6]).round(1)
        array([3.7, 3.5], dtype=float32)
        >>> model.predict("eve", 5, unknown="error")
        Traceback (most recent call last):
            ...
        mfcore.errors.UnknownIdError: user 'eve' has no training data in this model
        """
        answer: Floats = self._answer(self.predict_pairs, users, items, unknown)
        return answer

    def score(self, users: ArrayLike, items: ArrayLike, *, unknown: Unknown = "average") -> Floats:
        """Return the score of each (user, item) pair, before the output function.

        Parameters
        ----------
        users, items : ids, or sequences of ids [n]
            One id goes with every id of the other argument.
        unknown : "average" or "error"
            What an id without training data gets: the cold-start answer, or an `UnknownIdError`.

        Returns
        -------
        array [n] in the model's dtype, or one number for two single ids

        Raises
        ------
        InvalidArgumentError
            Lengths differ, or `unknown` is neither of the two.
        UnknownIdError
            unknown="error" and an id is not known.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> spec = mfcore.MF(2, output=mfcore.ReLU())
        >>> model = mfcore.fit(spec, data, epochs=1, seed=1, backend="reference")
        >>> bool(model.score("ann", 5) <= model.predict("ann", 5))
        True
        """
        answer: Floats = self._answer(self.score_pairs, users, items, unknown)
        return answer

    def recommend(
        self, users: ArrayLike, k: int = 10, *, exclude_seen: bool = True, unknown: Unknown = "average"
    ) -> Recommendations:
        """Return the k items of highest score for each user.

        Equal scores are ordered by ascending item row, that is by ascending id. A list is shorter than k
        where nothing is left.

        Parameters
        ----------
        users : id, or sequence of ids [n]
        k : int
        exclude_seen : bool
            Leave out the items of the user's training data.
        unknown : "average" or "error"
            What a user without training data gets: the average user's items, or an `UnknownIdError`.

        Returns
        -------
        Recommendations
            Of each user a `Ranking`: query, items, scores, names.

        Raises
        ------
        InvalidArgumentError
            k is below 1, or `unknown` is neither of the two.
        UnknownIdError
            unknown="error" and a user is not known.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob", "cid"], [5, 6, 5, 7])
        >>> wals = mfcore.WALS(unobserved_weight=0.1)
        >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=5, backend="reference")
        >>> model.recommend("bob", k=1)[0].items
        array([6])
        """
        require_integer("k", k, 1)
        asked = _listed(users)
        rows = self._rows(self.user_ids, asked, "user", unknown)
        items, scores = self._top_k(rows, k, exclude_seen)
        return self._rankings(asked, items, scores)

    def similar_items(self, items: ArrayLike, k: int = 10) -> Recommendations:
        """Return the k items whose vectors have the highest cosine with each item's, itself left out.

        Items without training data are neither accepted nor returned: nothing is known of them.

        Parameters
        ----------
        items : id, or sequence of ids [n]
        k : int

        Returns
        -------
        Recommendations
            Of each item a `Ranking`, whose scores are cosines.

        Raises
        ------
        InvalidArgumentError
            k is below 1.
        UnknownIdError
            An item has no training data.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns([1, 1, 2, 2, 3], [5, 6, 5, 6, 7])
        >>> wals = mfcore.WALS(unobserved_weight=0.1)
        >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=5, backend="reference")
        >>> model.similar_items(5, k=1)[0].items
        array([6])
        """
        require_integer("k", k, 1)
        asked = _listed(items)
        rows = self._rows(self.item_ids, asked, "item", "error")
        vectors = self.spec.item_vectors(self.parameters)
        lengths = np.linalg.norm(vectors, axis=1)
        unit = vectors / np.where(lengths > 0, lengths, 1)[:, None].astype(vectors.dtype)
        cold = self.item_counts == 0

        def cosines(positions: NDArray[np.int64]) -> Floats:
            chosen = rows[positions]
            cosine: Floats = unit[chosen] @ unit.T
            cosine[:, cold] = -np.inf
            cosine[np.arange(len(chosen)), chosen] = -np.inf
            return cosine

        found, scores = top_k(cosines, np.arange(len(rows)), min(k, self.n_items), self.n_items, None)
        return self._rankings(asked, found, scores)

    def fold_in(self, items: ArrayLike, values: ArrayLike | None = None) -> FoldedUser:
        """Return a new user, fitted to their interactions with the items' parameters held fixed.

        The user's row minimises the objective that the model was trained with. The model itself does not
        change.

        Parameters
        ----------
        items : sequence of item ids [m]
            Known to the model, each once.
        values : sequence of float [m], optional
            Ratings or counts; 1 where not given.

        Returns
        -------
        FoldedUser
            With `predict`, `scores` and `recommend`.

        Raises
        ------
        UnknownIdError
            An item has no training data.
        InvalidDataError
            No items, one of them twice, or a value that is not finite.
        InvalidArgumentError
            Lengths differ.
        UnsupportedError
            The score is not linear in the user's row, the objective has no target for each pair, or the model
            does not say how it was trained.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns([1, 1, 2, 2, 3], [5, 6, 5, 6, 7])
        >>> wals = mfcore.WALS(unobserved_weight=0.1)
        >>> model = mfcore.fit(mfcore.MF(2), data, optimizer=wals, epochs=5, backend="reference")
        >>> model.fold_in([5]).recommend(k=1).items
        array([6])
        """
        rows = self._rows(self.item_ids, _listed(items), "item", "error")
        return fold_in(self, rows, values)

    # Answers by row, as evaluation and engines ask for them

    def score_pairs(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the score of each pair of rows.

        Parameters
        ----------
        users, items : integer arrays [n]
            Rows; -1 for a cold start.

        Returns
        -------
        array [n] in the model's dtype

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> model.score_pairs(np.array([0, -1]), np.array([1, 1])).shape
        (2,)
        """
        if isinstance(self.scorer, EvaluationScorer):
            return self.scorer.score_pairs(users, items)
        return self.spec.score_pairs(
            self.cold_filled, _cold_last(users, self.n_users), _cold_last(items, self.n_items)
        )

    def predict_pairs(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> Floats:
        """Return the prediction of each pair of rows: the score after the output function.

        Parameters
        ----------
        users, items : integer arrays [n]
            Rows; -1 for a cold start.

        Returns
        -------
        array [n] in the model's dtype

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> spec = mfcore.MF(2, output=mfcore.RatingRange(1, 5))
        >>> model = mfcore.fit(spec, data, epochs=1, backend="reference")
        >>> model.predict_pairs(np.array([0, -1]), np.array([1, 1]))
        array([1., 1.], dtype=float32)
        """
        predictions: Floats = self.spec.output.predict(self.score_pairs(users, items))
        return predictions

    def score_catalogue(self, users: NDArray[np.integer]) -> Floats:
        """Return the score of every item for each user row.

        Parameters
        ----------
        users : integer array [n]
            Rows; -1 for a cold start.

        Returns
        -------
        array [n, n_items] in the model's dtype

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> model.score_catalogue(np.array([0, 1, -1])).shape
        (3, 2)
        """
        if isinstance(self.scorer, EvaluationScorer):
            return self.scorer.score_catalogue(users)
        return self.spec.score_catalogue(self.catalogue, _cold_last(users, self.n_users))

    def positive_ranks(
        self,
        users: NDArray[np.integer],
        rows: NDArray[np.int64],
        items: NDArray[np.int64],
        exclude_seen: bool,
    ) -> PositiveRanks | None:
        """Return what `EvaluationScorer.positive_ranks` does, or None where there is no such scorer.

        Parameters
        ----------
        users : integer array [n]
            Rows.
        rows, items : int64 arrays [n_positives]
            The positives: positions in `users`, ascending, and item rows.
        exclude_seen : bool

        Returns
        -------
        PositiveRanks or None

        Examples
        --------
        >>> import mfcore, numpy as np
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> model.positive_ranks(np.array([1]), np.array([0]), np.array([1]), True) is None
        True
        """
        if isinstance(self.scorer, EvaluationScorer):
            return self.scorer.positive_ranks(users, rows, items, exclude_seen)
        return None

    # Files

    def save(self, path: str | os.PathLike[str], *, optimizer_state: bool = False) -> None:
        """Write the model to one safetensors file, atomically.

        It holds parameters, ids, titles, spec, seen items and history.

        Parameters
        ----------
        path : path
        optimizer_state : bool
            Write the optimizer's state too, so that training can be resumed from the file.

        Raises
        ------
        InvalidArgumentError
            A spec, an objective or an optimizer of one's own could not be loaded again, because it is defined
            in the program itself or inside a function, or because its fields do not hold all of its settings;
            nothing is written.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference").save("model.safetensors")
        >>> mfcore.load("model.safetensors").epochs_trained
        1
        """
        write_state(self, path, optimizer_state=optimizer_state)

    # Frameworks

    def to_torch(self, *, sparse: bool = False) -> Any:
        """Return the model as an ordinary PyTorch module, to be trained, scripted or exported there.

        ``module(users, items)`` gives the scores of pairs of rows, ``user_ids.rows(...)``, which losses such
        as `BCEWithLogitsLoss` take, and ``module.predict(users, items)`` the predictions. A row without
        training data scores by its own parameters: the cold-start answer is this class's.

        Parameters
        ----------
        sparse : bool
            Whether the gradients of embeddings are sparse tensors, as `torch.optim.SparseAdam` needs them.

        Returns
        -------
        torch.nn.Module
            On the CPU, in the model's dtype, with copies of the parameters; `mfcore_torch.modules` lists the
            names of its state_dict.

        Raises
        ------
        BackendMissingError
            PyTorch is not installed; it is an ImportError and names the command.
        UnsupportedError
            A spec of one's own, for which there is no module.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> tuple(model.to_torch().state_dict()["user_factors.weight"].shape)
        (2, 2)
        """
        engine: Any = registry.get("torch")
        return engine.to_module(self, sparse=sparse)

    @classmethod
    def from_torch(cls, module: Any, spec: ModelSpec, ids: "Model | Interactions") -> "Model":
        """Return the model of a PyTorch module, such as one of `to_torch` after further training.

        Parameters
        ----------
        module : torch.nn.Module
            Of any class, wrapped (compiled, distributed) or not: what counts is that its state_dict has the
            names and shapes that `mfcore_torch.modules` lists. float32 or float64, on any device.
        spec : ModelSpec
            What the module computes. It is taken at its word: a state_dict does not record activations.
        ids : Model or Interactions
            The model that the module came from, or the data that it was trained on: whose ids the rows are,
            which rows have training data, what `recommend` leaves out, and titles. Bare ids do not say
            so, and a model that took all rows for trained would answer from rows that were never trained.

        Returns
        -------
        Model
            With copies of the weights, bit for bit, in the module's dtype. How they were trained is
            unknown, so it has zero epochs; ``fit(spec, data, initial=model)`` continues from it.

        Raises
        ------
        BackendMissingError
            PyTorch is not installed.
        InvalidArgumentError
            The state_dict does not fit the spec and the ids; names the weight and both shapes.
        InvalidDataError
            A weight is NaN or infinite.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> again = mfcore.Model.from_torch(model.to_torch(), model.spec, model)
        >>> again.score("ann", 5) == model.score("ann", 5)
        np.True_
        """
        return cls._imported_from("torch", "from_torch", module, spec, ids)

    def to_keras(self) -> Any:
        """Return the model as an ordinary functional Keras model, on TensorFlow.

        It takes rows, ``user_ids.rows(...)``, as inputs "user" and "item", and gives predictions [n, 1],
        which ``compile(loss="mse")`` and `fit` compare with ratings; its layer "score" gives the scores. A
        row without training data scores by its own parameters: the cold-start answer is this class's. Beware
        that `fit` of Keras does not add up the gradients of an id that a batch repeats, so what it learns is
        not what `mfcore.fit` would.

        Returns
        -------
        keras.Model
            Not compiled, in the model's dtype, with copies of the parameters; `mfcore_keras.models` lists the
            names of its layers, such as "user_embedding". That of a spec or an output of your own can be
            exported, but not saved as a .keras file.

        Raises
        ------
        BackendMissingError
            TensorFlow is not installed; it is an ImportError and names the command.
        UnsupportedError
            Keras runs on another framework here.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> model.to_keras().get_layer("user_embedding").get_weights()[0].shape
        (2, 2)
        """
        engine: Any = registry.get("keras")
        return engine.to_module(self)

    @classmethod
    def from_keras(cls, keras_model: Any, spec: ModelSpec, ids: "Model | Interactions") -> "Model":
        """Return the model of a Keras model, such as one of `to_keras` after further training.

        Parameters
        ----------
        keras_model : keras.Model
            Of any make: what counts is that its layers have the names and shapes that `mfcore_keras.models`
            lists. float32 or float64.
        spec : ModelSpec
            What it computes. It is taken at its word: names and shapes do not record activations.
        ids : Model or Interactions
            As in `from_torch`.

        Returns
        -------
        Model
            As `from_torch` returns it.

        Raises
        ------
        BackendMissingError
            TensorFlow is not installed.
        InvalidArgumentError
            The layers do not fit the spec and the ids; names the layer and both shapes.
        InvalidDataError
            A weight is NaN or infinite.
        UnsupportedError
            Keras runs on another framework here.

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> again = mfcore.Model.from_keras(model.to_keras(), model.spec, model)
        >>> again.score("ann", 5) == model.score("ann", 5)
        np.True_
        """
        return cls._imported_from("keras", "from_keras", keras_model, spec, ids)

    @classmethod
    def _imported_from(
        cls, backend: str, called: str, module: Any, spec: ModelSpec, ids: "Model | Interactions"
    ) -> "Model":
        """Return the model of a framework's module; `called` is the name of the caller's method."""
        require_instance(f"{called}: spec", spec, ModelSpec, "MF(n_factors=50)")
        if not isinstance(ids, Model | Interactions):
            raise InvalidArgumentError(
                f"{called}: ids is of type {type(ids).__name__}; pass the Model that the module came from,"
                " or the Interactions that it was trained on (Interactions.from_columns makes some): they say"
                " what users have seen, and which rows have training data"
            )
        engine: Any = registry.get(backend)
        parameters = engine.from_module(module, spec, len(ids.user_ids), len(ids.item_ids))
        return cls(spec=spec, parameters=parameters, **data_fields(ids))

    def with_parameters(self, spec: ModelSpec, parameters: dict[str, Floats]) -> "Model":
        """Return a model of zero epochs, with other parameters for the same ids, seen items and titles.

        Parameters
        ----------
        spec : ModelSpec
        parameters : dict of name to array
            As `spec.parameter_shapes` says.

        Returns
        -------
        Model

        Examples
        --------
        >>> import mfcore
        >>> data = mfcore.Interactions.from_columns(["ann", "ann", "bob"], [5, 6, 5])
        >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
        >>> doubled = {name: 2 * array for name, array in model.parameters.items()}
        >>> model.with_parameters(model.spec, doubled).score("ann", 5) == 4 * model.score("ann", 5)
        np.True_
        """
        return Model(spec=spec, parameters=parameters, **data_fields(self))

    # Inner parts

    def _top_k(self, users: NDArray[np.int64], k: int, exclude_seen: bool) -> tuple[Any, Any]:
        kept = min(k, self.n_items)
        if self.scorer is not None:
            return self.scorer.top_k(users, kept, exclude_seen)
        return top_k(self.score_catalogue, users, kept, self.n_items, self.seen if exclude_seen else None)

    def _rankings(self, asked: list[Any], items: NDArray[np.int64], scores: Floats) -> Recommendations:
        rankings = []
        for query, row_items, row_scores in zip(asked, items, scores, strict=True):
            kept = row_items >= 0
            chosen = row_items[kept]
            names = None if self.item_names is None else self.item_names[chosen]
            rankings.append(Ranking(query, self.item_ids[chosen], row_scores[kept], names))
        return Recommendations(tuple(rankings))

    def _answer(self, ask: Any, users: ArrayLike, items: ArrayLike, unknown: Unknown) -> Any:
        single = _is_single(users) and _is_single(items)
        user_rows = np.atleast_1d(self._rows(self.user_ids, users, "user", unknown))
        item_rows = np.atleast_1d(self._rows(self.item_ids, items, "item", unknown))
        if len(user_rows) != len(item_rows) and 1 not in (len(user_rows), len(item_rows)):
            raise InvalidArgumentError(
                f"users has length {len(user_rows)} and items {len(item_rows)}; they must be equal, or one of"
                " them 1"
            )
        user_rows, item_rows = np.broadcast_arrays(user_rows, item_rows)
        answer = ask(user_rows, item_rows)
        return answer[0] if single else answer

    def _rows(self, ids: Vocabulary, asked: Any, side: str, unknown: Unknown) -> NDArray[np.int64]:
        if unknown not in ("average", "error"):
            raise InvalidArgumentError(f"unknown is {unknown!r}; it must be 'average' or 'error'")
        rows = ids.rows(asked)
        if unknown == "error" and rows.size:
            counts = self.seen.counts if side == "user" else self.item_counts
            cold = np.flatnonzero(np.where(rows < 0, True, counts[rows] == 0))
            if cold.size:
                first = _listed(asked)[cold[0]]
                raise UnknownIdError(f"{side} {first!r} has no training data in this model")
        return rows


def load_model(path: str | os.PathLike[str]) -> Model:
    """Return the model of a file; see `mfcore.load`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Model

    Raises
    ------
    ModelFileError
        The file is missing, truncated, foreign, or written by a newer mfcore.

    Examples
    --------
    >>> from mfcore.model import load_model
    >>> load_model("absent.safetensors")
    Traceback (most recent call last):
        ...
    mfcore.errors.ModelFileError: there is no model file absent.safetensors
    """
    state = read_state(path)
    return Model(**{field.name: getattr(state, field.name) for field in fields(state)})


def recommended(
    model: Model, user: int | str, k: int, *, min_count: int = 0, exclude_seen: bool = True
) -> Ranking:
    """Return the k items of highest score among those with at least `min_count` training users.

    Parameters
    ----------
    model : Model
    user : int or str
    k : int
    min_count : int
    exclude_seen : bool
        Leave out the items of the user's training data.

    Returns
    -------
    Ranking

    Examples
    --------
    >>> import mfcore
    >>> from mfcore.model import recommended
    >>> data = mfcore.Interactions.from_columns([1, 1, 2, 2, 3], [5, 6, 5, 6, 7])
    >>> model = mfcore.fit(mfcore.MF(2), data, epochs=1, backend="reference")
    >>> recommended(model, 3, k=5, min_count=2).items
    array([6, 5])
    """
    if min_count <= 0:
        return model.recommend(user, k, exclude_seen=exclude_seen)[0]
    every = model.recommend(user, model.n_items, exclude_seen=exclude_seen)[0]
    well_known = model.item_counts[model.item_ids.rows(every.items)] >= min_count
    kept = np.flatnonzero(well_known)[:k]
    names = None if every.names is None else every.names[kept]
    return Ranking(user, every.items[kept], every.scores[kept], names)


def _cold_last(rows: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    return np.where(rows < 0, n, rows).astype(np.int64)


def _listed(ids: Any) -> list[Any]:
    """Return one id or several as a list of plain Python ids."""
    many = [ids] if _is_single(ids) else ids
    return [one.item() if isinstance(one, np.generic) else one for one in many]


def _is_single(ids: Any) -> bool:
    return isinstance(ids, str | bytes) or not hasattr(ids, "__len__") or getattr(ids, "ndim", 1) == 0
