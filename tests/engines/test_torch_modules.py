"""Models as PyTorch modules: given out, scripted, exported, trained by somebody else, and taken back."""

import copy
import io
import warnings

import numpy as np
import pytest

import mfcore
from mfcore.errors import InvalidArgumentError, InvalidDataError
from mfcore.model import Model, data_fields

torch = pytest.importorskip("torch", reason="torch is not installed on this Python")

from mfcore_torch.modules import build_module  # noqa: E402
from torch import nn  # noqa: E402

INIT = mfcore.Normal(0.7)
SPECS = {
    "MF": mfcore.MF(3, init=INIT),
    "MF with biases": mfcore.MF(3, biases=True, init=INIT),
    "GMF": mfcore.GMF(3, init=INIT),
    "GMF with biases": mfcore.GMF(3, biases=True, init=INIT),
    "MLP of relu": mfcore.MLP((4, 5, 3), init=INIT),
    "MLP of tanh": mfcore.MLP((6, 2), "tanh", init=INIT),
    "MLP of many layers": mfcore.MLP((4, *range(2, 14)), "sigmoid", init=INIT),
    "NeuMF": mfcore.NeuMF(2, (4, 3, 2), "tanh", init=INIT),
    "NeuMF, projected": mfcore.NeuMF(3, (4, 2), "tanh", fusion="projected", init=INIT),
    "TwoTower": mfcore.TwoTower(3, init=INIT),
    "TwoTower with layers": mfcore.TwoTower(3, (4, 5, 2), "relu", init=INIT),
}
OUTPUTS = {
    "linear": mfcore.Linear(),
    "relu": mfcore.ReLU(),
    "sigmoid": mfcore.Sigmoid(),
    "clipped": mfcore.RatingRange(1, 5),
    "scaled": mfcore.RatingRange(1, 5, method="sigmoid"),
}
TOLERANCES = {"float32": 1e-5, "float64": 1e-13}
# The last user and the last item of the ratings have no training data.
USERS, ITEMS = np.divmod(np.arange(39 * 24), 24)


@pytest.fixture
def model_of(ratings):
    """Return a maker of models whose parameters, biases too, are random numbers."""

    def make(spec, dtype="float32"):
        rng = np.random.default_rng(2)
        shapes = spec.parameter_shapes(ratings.n_users, ratings.n_items)
        parameters = {name: rng.normal(0, 0.7, shape).astype(dtype) for name, shape in shapes.items()}
        return Model(spec=spec, parameters=parameters, **data_fields(ratings))

    return make


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def spec(request):
    return request.param


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    return request.param


def tensors(users=USERS, items=ITEMS):
    return torch.as_tensor(users), torch.as_tensor(items)


def scripted(module):
    """Return a module scripted, saved and loaded."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # PyTorch 2.13 deprecates TorchScript in favour of torch.export; many still deploy by it.
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), file)
        file.seek(0)
        return torch.jit.load(file)


def assert_same(found, expected, dtype):
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


# Given out


def test_a_module_s_scores_are_the_model_s(model_of, spec, dtype):
    model = model_of(spec, dtype)
    scores = model.to_torch()(*tensors())
    assert_same(scores.detach().numpy(), model.score_pairs(USERS, ITEMS), dtype)


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_its_predictions_are_the_model_s_for_every_output(model_of, output, dtype):
    model = model_of(mfcore.MF(3, biases=True, output=output), dtype)
    predictions = model.to_torch().predict(*tensors())
    assert_same(predictions.detach().numpy(), model.predict_pairs(USERS, ITEMS), dtype)


def test_a_row_without_training_data_scores_by_its_own_parameters(model_of):
    model = model_of(mfcore.MF(3, biases=True))
    score = model.to_torch()(torch.tensor([39]), torch.tensor([24]))
    expected = model.spec.score_pairs(model.parameters, np.array([39]), np.array([24]))
    np.testing.assert_allclose(score.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (
            mfcore.MF(3, biases=True),
            {
                "user_factors.weight": (40, 3),
                "item_factors.weight": (25, 3),
                "user_bias.weight": (40, 1),
                "item_bias.weight": (25, 1),
                "global_bias": (1,),
            },
        ),
        (
            mfcore.NeuMF(3, (4, 5, 2), fusion="projected"),
            {
                "user_factors.weight": (40, 3),
                "item_factors.weight": (25, 3),
                "mlp_user_factors.weight": (40, 2),
                "mlp_item_factors.weight": (25, 2),
                "dense_0.weight": (5, 4),
                "dense_0.bias": (5,),
                "dense_1.weight": (2, 5),
                "dense_1.bias": (2,),
                "projection.weight": (3, 2),
                "projection.bias": (3,),
                "output.weight": (1, 6),
                "output.bias": (1,),
            },
        ),
        (
            mfcore.TwoTower(3, (4,)),
            {
                "user_factors.weight": (40, 3),
                "item_factors.weight": (25, 3),
                "user_dense_0.weight": (4, 3),
                "user_dense_0.bias": (4,),
                "item_dense_0.weight": (4, 3),
                "item_dense_0.bias": (4,),
            },
        ),
    ],
    ids=["MF", "NeuMF", "TwoTower"],
)
def test_the_names_of_its_state_dict_can_be_read(model_of, spec, names):
    state = model_of(spec).to_torch().state_dict()
    assert {name: tuple(weights.shape) for name, weights in state.items()} == names


def test_the_constant_is_a_buffer_and_all_the_rest_is_trained(model_of):
    module = model_of(mfcore.GMF(3, biases=True)).to_torch()
    assert [name for name, _ in module.named_buffers()] == ["global_bias"]
    assert {name for name, _ in module.named_parameters()} == set(module.state_dict()) - {"global_bias"}
    assert all(weights.requires_grad for weights in module.parameters())


def test_a_module_has_parameters_of_its_own(model_of):
    model = model_of(mfcore.MF(3))
    before = model.parameters["user_factors"].copy()
    with torch.no_grad():
        model.to_torch().user_factors.weight.fill_(7)
    np.testing.assert_array_equal(model.parameters["user_factors"], before)


def test_a_module_can_be_copied(model_of, spec):
    module = model_of(spec).to_torch()
    assert torch.equal(copy.deepcopy(module)(*tensors()), module(*tensors()))


def test_giving_it_out_leaves_pytorch_s_random_numbers_alone(model_of, spec):
    before = torch.get_rng_state()
    model_of(spec).to_torch()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_embeddings_of_two_towers_make_an_index(model_of):
    model = model_of(SPECS["TwoTower with layers"], "float64")
    module = model.to_torch()
    with torch.no_grad():
        scores = module.user_embeddings(torch.arange(39)) @ module.item_embeddings(torch.arange(24)).T
    assert_same(scores.numpy(), model.score_catalogue(np.arange(39))[:, :24], "float64")


def test_sparse_gradients_hold_the_rows_of_a_batch_alone(model_of):
    module = model_of(SPECS["NeuMF"]).to_torch(sparse=True)
    module(torch.tensor([3, 3, 8]), torch.tensor([1, 2, 1])).sum().backward()
    assert module.mlp_user_factors.weight.grad.coalesce().indices().tolist() == [[3, 8]]
    assert not module.dense_0.weight.grad.is_sparse


def test_sparse_is_yes_or_no(model_of):
    with pytest.raises(InvalidArgumentError, match="sparse is 'coo'; pass an instance such as True"):
        model_of(mfcore.MF(3)).to_torch(sparse="coo")


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_a_scripted_module_gives_the_same_for_every_output(model_of, output):
    module = model_of(mfcore.MF(3, biases=True, output=output)).to_torch()
    assert torch.equal(scripted(module).predict(*tensors()), module.predict(*tensors()))


def test_a_scripted_module_gives_the_same_and_keeps_the_names(model_of, spec):
    module = model_of(spec).to_torch()
    script = scripted(module)
    torch.testing.assert_close(script(*tensors()), module(*tensors()))
    assert list(script.state_dict()) == list(module.state_dict())


def test_scripted_towers_give_their_embeddings(model_of):
    module = model_of(SPECS["TwoTower with layers"]).to_torch()
    script = scripted(module)
    for side in ("user", "item"):
        embeddings = getattr(module, f"{side}_embeddings")(torch.arange(24))
        torch.testing.assert_close(getattr(script, f"{side}_embeddings")(torch.arange(24)), embeddings)


@pytest.mark.parametrize("name", ["MF with biases", "NeuMF, projected", "TwoTower with layers"])
def test_an_exported_module_takes_batches_of_any_size(model_of, name):
    module = model_of(SPECS[name]).to_torch()
    n = torch.export.Dim("n")
    program = torch.export.export(
        module, tensors(USERS[:7], ITEMS[:7]), dynamic_shapes={"users": {0: n}, "items": {0: n}}
    )
    torch.testing.assert_close(program.module()(*tensors()), module(*tensors()))


@pytest.mark.parametrize("name", ["GMF with biases", "MLP of many layers", "NeuMF, projected"])
def test_a_module_compiles_as_one_graph(model_of, name):
    module = model_of(SPECS[name]).to_torch()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*tensors()), module(*tensors()))


def test_a_state_dict_is_saved_and_loaded(model_of, spec):
    given, other = model_of(spec).to_torch(), build_module(spec, 40, 25)
    file = io.BytesIO()
    torch.save(given.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(*tensors()), given(*tensors()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_module_moves_to_a_gpu_and_comes_back(model_of, spec):
    model = model_of(spec, "float64")
    module = model.to_torch().to("cuda")
    users, items = tensors()
    assert_same(
        module(users.cuda(), items.cuda()).detach().cpu().numpy(), model.score_pairs(USERS, ITEMS), "float64"
    )
    assert_same_bits(Model.from_torch(module, spec, model), model)


# Made from a spec


def test_a_module_begins_where_fit_does(ratings, spec, dtype):
    module = build_module(spec, 40, 25, getattr(torch, dtype), seed=5, best_constant=3.5)
    taken = Model.from_torch(module, spec, ratings)
    expected = spec.initial_parameters(40, 25, seed=5, dtype=np.dtype(dtype), best_constant=3.5)
    assert taken.parameters.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(taken.parameters[name], array)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((40, 25, torch.bfloat16), "dtype is torch.bfloat16; it must be torch.float32 or torch.float64"),
        ((0, 25), "n_users is 0; it must be an integer of at least 1"),
        ((40, 2.5), "n_items is 2.5"),
    ],
)
def test_a_module_of_another_dtype_or_of_no_rows_is_refused(arguments, error):
    with pytest.raises(InvalidArgumentError, match=error):
        build_module(mfcore.MF(3), *arguments)


# Imported


def assert_same_bits(found, expected):
    assert found.spec == expected.spec
    assert found.parameters.keys() == expected.parameters.keys()
    for name, array in expected.parameters.items():
        assert found.parameters[name].dtype == array.dtype
        assert found.parameters[name].flags.c_contiguous
        np.testing.assert_array_equal(found.parameters[name], array)


@pytest.mark.parametrize("known_by", ["model", "data"])
def test_a_model_comes_back_bit_for_bit(model_of, spec, dtype, known_by, ratings):
    model = model_of(spec, dtype)
    ids = model if known_by == "model" else ratings
    taken = Model.from_torch(model.to_torch(), spec, ids)
    assert_same_bits(taken, model)
    assert taken.user_ids is ids.user_ids
    assert taken.item_ids is ids.item_ids
    assert taken.seen is ids.seen
    np.testing.assert_array_equal(taken.score_pairs(USERS, ITEMS), model.score_pairs(USERS, ITEMS))


def test_a_model_that_came_back_has_parameters_of_its_own(model_of, spec):
    model = model_of(spec)
    module = model.to_torch()
    taken = Model.from_torch(module, spec, model)
    with torch.no_grad():
        for weights in module.state_dict().values():
            weights.fill_(7)
    assert_same_bits(taken, model)


def test_a_model_that_came_back_claims_no_history(ratings):
    model = mfcore.fit(mfcore.MF(3), ratings, epochs=2, backend="reference")
    taken = Model.from_torch(model.to_torch(), model.spec, model)
    assert (taken.epochs_trained, len(taken.history), taken.training) == (0, 0, {})
    assert taken.optimizer_state is None


def test_titles_and_string_ids_come_back_and_go_into_a_file(tmp_path):
    data = mfcore.Interactions.from_columns(
        ["ann", "ann", "bob"], ["x", "y", "x"], item_names={"x": "Ex", "y": "Why"}
    )
    spec = mfcore.MF(2)
    model = Model.from_torch(build_module(spec, 2, 2), spec, data)
    model.save(tmp_path / "m.safetensors")
    loaded = mfcore.load(tmp_path / "m.safetensors")
    assert_same_bits(loaded, model)
    assert loaded.recommend("bob")[0].names.tolist() == ["Why"]


def test_a_loop_of_one_s_own_goes_on_where_fit_ended(checkerboard):
    """Train here, train there, come back, and train here again: the board is learnt."""
    spec = mfcore.NeuMF(4, (8, 8, 4), init=mfcore.Normal(0.3))
    settings = {"objective": "logistic", "n_negatives": 2, "optimizer": mfcore.Adam(0.01)}
    begun = mfcore.fit(spec, checkerboard, epochs=1, backend="reference", **settings)
    module = begun.to_torch()
    users, items = (torch.from_numpy(rows).long() for rows in np.divmod(np.arange(400), 20))
    labels = ((users + items) % 2 == 0).float()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        loss = nn.functional.binary_cross_entropy_with_logits(module(users, items), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    taken = Model.from_torch(module, spec, begun)
    # Of a user's ten items nine have been seen: what is left is the one on the diagonal.
    assert [ranking.items.tolist() for ranking in taken.recommend(range(20), k=1)] == [
        [user] for user in range(20)
    ]
    ended = mfcore.fit(spec, checkerboard, epochs=1, backend="reference", initial=taken, **settings)
    assert ended.history[0].objective < begun.history[0].objective


@pytest.fixture
def one_process(tmp_path):
    """A process group of this process alone."""
    if not torch.distributed.is_available():
        pytest.skip("this build of torch has no torch.distributed")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrapped_as", ["compiled", "distributed", "both"])
def test_a_wrapped_module_is_understood(model_of, one_process, wrapped_as):
    model = model_of(SPECS["NeuMF"])
    module = model.to_torch()
    if wrapped_as != "compiled":
        module = nn.parallel.DistributedDataParallel(module)
    if wrapped_as != "distributed":
        module = torch.compile(module, backend="eager")
    assert all("module." in name or "_orig_mod." in name for name in module.state_dict())
    assert_same_bits(Model.from_torch(module, model.spec, model), model)


class Elsewhere(nn.Module):
    """A module of somebody else's that has the names."""

    def __init__(self):
        super().__init__()
        self.item_factors = nn.Embedding(25, 3)
        self.user_factors = nn.Embedding(40, 3)

    def forward(self, users, items):
        return (self.user_factors(users) * self.item_factors(items)).sum(-1)


def test_a_module_of_somebody_else_s_class_is_fine_if_it_has_the_names(ratings):
    module = Elsewhere()
    taken = Model.from_torch(module, mfcore.MF(3), ratings)
    scores = module(*tensors()).detach().numpy()
    np.testing.assert_allclose(taken.score_pairs(USERS, ITEMS), scores, rtol=1e-5, atol=1e-5)


# Refused


@pytest.mark.parametrize(
    ("spec", "asked", "error"),
    [
        (
            mfcore.MF(3),
            mfcore.MF(3, biases=True),
            r"lacks 'user_bias.weight' \(40, 1\), 'item_bias.weight' \(25, 1\), 'global_bias' \(1,\), which"
            r" MF\(n_factors=3, biases=True.* of 40 users and 25 items needs; it has 'user_factors.weight',"
            r" 'item_factors.weight'. Pass the spec that",
        ),
        (
            mfcore.MF(3, biases=True),
            mfcore.MF(3),
            r"has 'global_bias' \(1,\), 'user_bias.weight' \(40, 1\), 'item_bias.weight' \(25, 1\), for which"
            r" MF\(n_factors=3, biases=False.* of 40 users and 25 items has no place: scores would",
        ),
        (
            mfcore.MLP((4, 5, 3)),
            mfcore.MLP((4, 3, 3)),
            r"'dense_0.weight' has shape \(5, 4\), but MLP\(layers=\(4, 3, 3\).* needs \(3, 4\); pass the",
        ),
    ],
    ids=["a name too few", "a name too many", "another shape"],
)
def test_a_module_of_another_spec_names_the_weight_and_the_remedy(model_of, spec, asked, error):
    model = model_of(spec)
    with pytest.raises(InvalidArgumentError, match=error):
        Model.from_torch(model.to_torch(), asked, model)


def test_a_module_of_other_users_names_both_numbers(ratings):
    spec = mfcore.MF(3)
    error = r"'user_factors.weight' has shape \(41, 3\), but MF.* of 40 users and 25 items needs \(40, 3\)"
    with pytest.raises(InvalidArgumentError, match=error):
        Model.from_torch(build_module(spec, 41, 25), spec, ratings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_named_with_its_place(model_of, value):
    model = model_of(mfcore.MF(3))
    module = model.to_torch()
    with torch.no_grad():
        module.item_factors.weight[7, 2] = value
    with pytest.raises(InvalidDataError, match=rf"'item_factors.weight' holds {value} at \(7, 2\); go back"):
        Model.from_torch(module, model.spec, model)


def test_weights_of_half_precision_are_refused_with_the_remedy(model_of):
    model = model_of(mfcore.MF(3))
    with pytest.raises(
        InvalidArgumentError, match=r"'user_factors.weight' is torch.bfloat16 .* module.float"
    ):
        Model.from_torch(model.to_torch().bfloat16(), model.spec, model)


def test_weights_of_two_dtypes_are_refused(model_of):
    model = model_of(mfcore.MF(3))
    module = model.to_torch()
    module.item_factors.double()
    error = "'item_factors.weight' is torch.float64 and its 'user_factors.weight' torch.float32"
    with pytest.raises(InvalidArgumentError, match=error):
        Model.from_torch(module, model.spec, model)


def test_a_state_dict_is_no_module(model_of):
    model = model_of(mfcore.MF(3))
    with pytest.raises(InvalidArgumentError, match="module is OrderedDict"):
        Model.from_torch(model.to_torch().state_dict(), model.spec, model)


def test_a_class_of_specs_is_no_spec(model_of):
    model = model_of(mfcore.MF(3))
    with pytest.raises(InvalidArgumentError, match=r"spec is <class .*; pass an instance such as MF\("):
        Model.from_torch(model.to_torch(), mfcore.MF, model)


def test_bare_ids_are_refused_as_they_do_not_tell_which_rows_were_trained(model_of):
    model = model_of(mfcore.MF(3))
    with pytest.raises(
        InvalidArgumentError, match=r"ids is of type tuple; pass the Model that .* Interactions"
    ):
        Model.from_torch(model.to_torch(), model.spec, (range(40), range(25)))


def test_a_missing_torch_is_one_line_with_the_remedy(model_of, install_source):
    install_source("torch", "raise ModuleNotFoundError('No module named torch', name='torch')", "mfcore")
    model = model_of(mfcore.MF(3))
    message = r"^backend 'torch' needs torch, which is not installed: pip install 'mfcore\[torch\]'$"
    with pytest.raises(ImportError, match=message):
        model.to_torch()
    with pytest.raises(ImportError, match=message):
        Model.from_torch(None, model.spec, model)
