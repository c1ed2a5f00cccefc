"""Several processes that train together give the result of one: two of them on this machine, over Gloo."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from mfcore_torch.ranks import find_ranks  # noqa: E402

PRELUDE = """
import json, os, sys
sys.path[:0] = {path!r}
import numpy as np
import torch
import mfcore
from dataclasses import replace
from mfcore.engines import registry
from mfcore.training import make_job
from mfcore_torch import TorchBackend

rng = np.random.default_rng(3)
pairs = rng.choice(60 * 50, size=1_200, replace=False)
data = mfcore.Interactions.from_columns(pairs // 50, pairs % 50, rng.uniform(1, 5, 1_200))

def tell(**found):
    # In one write: lines of two processes must not mix.
    os.write(1, (json.dumps(found) + "\\n").encode())

def job_of(spec, **settings):
    defaults = dict(order="shuffled", device="cpu", threads=2)
    return make_job(spec, data, **{{**defaults, "dtype": "float64", **settings}})
"""


def run_ranks(source, n=2, check=True):
    """Run Python source in some processes under torchrun; return what each line of their output says."""
    path = [entry for entry in sys.path if entry]
    program = PRELUDE.format(path=path) + textwrap.dedent(source)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    done = subprocess.run(
        [*command, "--no-python", sys.executable, "-W", "error::UserWarning:mfcore", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not check or done.returncode == 0, done.stderr[:3_000]
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_two_ranks_give_the_result_of_the_reference():
    found, _ = run_ranks(
        """
        init = mfcore.Normal(0.3)
        JOBS = {
            "neumf": (mfcore.NeuMF(7, (10, 9, 5), "tanh", init=init), dict(objective="logistic",
                      n_negatives=1, optimizer=mfcore.Adam(0.01, l2=0.02, l2_dense=0.01), batch_size=47)),
            "bpr": (mfcore.MF(7, biases=True, init=init), dict(objective="bpr", n_negatives=2,
                    optimizer=mfcore.SGD(0.1, l2=0.02), batch_size=45)),
            "softmax": (mfcore.TwoTower(7, (9, 5), "tanh", init=init), dict(objective="in_batch_softmax",
                        optimizer=mfcore.Adagrad(0.1, l2=0.02), batch_size=23)),
            "gmf": (mfcore.GMF(7, init=init), dict(objective="squared",
                    optimizer=mfcore.AdamW(0.01, l2=0.02, weight_decay=0.125), batch_size=23)),
        }
        for name, (spec, settings) in JOBS.items():
            job = job_of(spec, **settings)
            reference = registry.get("reference").trainer(job)
            expected = [reference.run_epoch(epoch) for epoch in range(2)]
            for cut in (False, True):
                trainer = TorchBackend(cut_tables=cut).trainer(job)
                objectives = [trainer.run_epoch(epoch) for epoch in range(2)]
                after, state = trainer.parameters(), trainer.optimizer_state()
                tell(
                    job=name,
                    rank=trainer.ranks.number,
                    ranks=trainer.ranks.n,
                    cut=trainer.store.is_cut,
                    apart=max(
                        float(np.linalg.norm(array - after[key]))
                        / float(np.linalg.norm(array - job.parameters[key]))
                        for key, array in reference.parameters().items() if key in job.trained
                    ),
                    state=max(
                        float(np.abs(array - state[key]).max())
                        for key, array in reference.optimizer_state().items()
                    ),
                    objective=abs(objectives[1] / expected[1] - 1),
                )
        """
    )
    assert len(found) == 4 * 2 * 2
    assert {(line["rank"], line["ranks"], line["cut"]) for line in found} == {
        (rank, 2, cut) for rank in (0, 1) for cut in (False, True)
    }
    assert max(max(line["apart"], line["state"], line["objective"]) for line in found) < 1e-9


def test_a_last_batch_of_fewer_instances_than_ranks_is_one_rank_s_alone():
    found, _ = run_ranks(
        """
        init = mfcore.Normal(0.3)
        JOBS = {
            "pointwise": (mfcore.NeuMF(7, (10, 9, 5), "tanh", init=init), dict(objective="squared")),
            "bpr": (mfcore.GMF(7, biases=True, init=init), dict(objective="bpr", n_negatives=1)),
            "softmax": (mfcore.TwoTower(7, (9, 5), "tanh", init=init), dict(objective="in_batch_softmax")),
        }
        for name, (spec, settings) in JOBS.items():
            job = job_of(spec, batch_size=109, optimizer=mfcore.Adam(0.01, l2=0.02), **settings)
            reference = registry.get("reference").trainer(job)
            expected = reference.run_epoch(0)
            for cut in (False, True):
                trainer = TorchBackend(cut_tables=cut).trainer(job)
                objective, after = trainer.run_epoch(0), trainer.parameters()
                tell(
                    last=job.n_instances % job.batch_size,
                    objective=abs(objective / expected - 1),
                    apart=max(
                        float(np.linalg.norm(array - after[key]))
                        / float(np.linalg.norm(array - job.parameters[key]))
                        for key, array in reference.parameters().items() if key in job.trained
                    ),
                )
        """
    )
    assert [line["last"] for line in found] == [1] * 3 * 2 * 2
    assert max(max(line["apart"], line["objective"]) for line in found) < 1e-9


def test_deferred_updates_are_caught_up_with_in_tables_that_are_cut():
    found, _ = run_ranks(
        """
        from mfcore.engines import STEP
        from mfcore.data import Vocabulary

        pairs = rng.choice(400 * 400, size=900, replace=False)
        data = mfcore.Interactions.from_columns(
            pairs // 400, pairs % 400, rng.uniform(1, 5, 900),
            user_ids=Vocabulary.range(500), item_ids=Vocabulary.range(500),
        )
        job = job_of(mfcore.MF(7, biases=True, init=mfcore.Normal(0.1)), optimizer=mfcore.Adam(0.01, l2=0.02),
                     batch_size=3, dtype="float32")
        job = replace(job, optimizer_state={**job.optimizer_state, STEP: np.array([5_000])})
        reference = registry.get("reference").trainer(job)
        reference.run_epoch(0)
        for cut in (False, True):
            trainer = TorchBackend(cut_tables=cut).trainer(job)
            trainer.run_epoch(0)
            after = trainer.parameters()
            tell(defers=trainer.deferral.sides == (True, True), apart=max(
                float(np.linalg.norm(array - after[key]) / np.linalg.norm(array - job.parameters[key]))
                for key, array in reference.parameters().items() if key in job.trained
            ))
        """
    )
    assert [line["defers"] for line in found] == [True] * 4
    assert max(line["apart"] for line in found) < 1e-5


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells of threads in /proc")
def test_no_thread_of_the_group_is_left_when_python_ends():
    """One that asks for Python then aborts the process."""
    found, _ = run_ranks(
        """
        from pathlib import Path
        from mfcore_torch.ranks import _leave

        def threads():
            names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
            return [name for name in names if "gloo" in name]

        job = job_of(mfcore.MF(7), optimizer="adam", batch_size=100)
        trainers = [TorchBackend(cut_tables=cut).trainer(job) for cut in (False, True)]
        for trainer in trainers:
            trainer.run_epoch(0)
            trainer.parameters()
        before = threads()
        _leave()
        tell(before=before, after=threads())
        """
    )
    assert len(found) == 2
    assert all(line["before"] and not line["after"] for line in found)


def test_a_cut_table_goes_to_the_device_in_parts_and_comes_back_in_blocks():
    found, _ = run_ranks(
        """
        from mfcore_torch import sharding

        job = job_of(mfcore.MF(7, biases=True, init=mfcore.Normal(0.3)), optimizer=mfcore.Adam(0.01),
                     batch_size=100)
        job = replace(job, optimizer_state={
            name: rng.uniform(size=array.shape) if array.dtype.kind == "f" else array
            for name, array in job.optimizer_state.items()
        })
        gather, sizes = torch.distributed.all_gather, []

        def recorded(together, own, **more):
            sizes.append(sum(part.nbytes for part in together))
            gather(together, own, **more)

        torch.distributed.all_gather = recorded
        # Of three ranks, seven rows each of a side's parameters: 8 numbers of 8 bytes.
        sharding.GATHERED_AT_ONCE = 3 * 7 * 8 * 8
        trainer = TorchBackend(cut_tables=True).trainer(job)
        after, state = trainer.parameters(), trainer.optimizer_state()
        weights = trainer.store.weights
        sides = (weights.users, weights.items)
        tell(
            rank=trainer.ranks.number,
            rows=[len(rows.numbers) for rows in sides],
            first=[trainer.store.cut_of(rows).own.start for rows in sides],
            only_own=all(rows.numbers.untyped_storage().nbytes() == rows.numbers.nbytes for rows in sides),
            gathered=len(sizes),
            largest=max(sizes),
            same=all(np.array_equal(array, after[name]) for name, array in job.parameters.items())
            and all(np.array_equal(array, state[name]) for name, array in job.optimizer_state.items()),
        )
        """,
        n=3,
    )
    by_rank = sorted(found, key=lambda line: line["rank"])
    # 60 users and 50 items, and the padding row.
    assert [line["rows"] for line in by_rank] == [[21, 17], [21, 17], [19, 17]]
    assert [line["first"] for line in by_rank] == [[0, 0], [21, 17], [42, 34]]
    for line in found:
        assert line["only_own"]
        assert line["same"]
        # Blocks of seven rows of parameters, and of two rows with both slots as well.
        assert line["gathered"] == (3 + 3) + (11 + 9)
        assert line["largest"] == 3 * 7 * 8 * 8


def test_fit_returns_the_whole_model_on_every_rank_and_one_of_them_writes_the_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    found, _ = run_ranks(
        f"""
        saved = []
        save = mfcore.Model.save
        mfcore.Model.save = lambda model, *rest, **more: (saved.append(1), save(model, *rest, **more))
        model = mfcore.fit(
            mfcore.GMF(4), data, epochs=2, optimizer=mfcore.Adam(), backend="torch", device="cpu",
            validation=data.select(np.arange(50)), checkpoint={str(path)!r}, progress=True,
        )
        factors = model.parameters["user_factors"]
        tell(item=model.recommend(3, k=1)[0].items.tolist(), sum=float(factors.sum()), saved=len(saved))
        """
    )
    assert len(found) == 2
    assert found[0]["item"] == found[1]["item"]
    assert found[0]["sum"] == found[1]["sum"]
    assert sorted(line["saved"] for line in found) == [0, 2]
    assert path.is_file()


def test_each_rank_solves_the_whole_of_wals_and_one_of_them_writes_the_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    found, _ = run_ranks(
        f"""
        saved = []
        save = mfcore.Model.save
        mfcore.Model.save = lambda model, *rest, **more: (saved.append(1), save(model, *rest, **more))
        settings = dict(optimizer=mfcore.WALS(l2=0.05, unobserved_weight=0.1))
        job = job_of(mfcore.MF(7, biases=True), batch_size=None, **settings)
        reference = registry.get("reference").trainer(job)
        expected = [reference.run_epoch(epoch) for epoch in range(2)]
        trainer = TorchBackend().trainer(job)
        objectives = [trainer.run_epoch(epoch) for epoch in range(2)]
        after = trainer.parameters()
        mfcore.fit(mfcore.MF(4), data, epochs=2, backend="torch", device="cpu", checkpoint={str(path)!r},
                   progress=True, **settings)
        tell(
            rank=trainer.ranks.number,
            ranks=trainer.ranks.n,
            main=trainer.is_main,
            saved=len(saved),
            objective=abs(objectives[1] / expected[1] - 1),
            apart=max(
                float(np.linalg.norm(array - after[key]) / np.linalg.norm(array))
                for key, array in reference.parameters().items()
            ),
        )
        """
    )
    by_rank = sorted(found, key=lambda line: line["rank"])
    assert [(line["ranks"], line["main"], line["saved"]) for line in by_rank] == [(2, True, 2), (2, False, 0)]
    assert max(max(line["apart"], line["objective"]) for line in found) < 1e-9
    assert path.is_file()


@pytest.mark.parametrize(
    ("device", "expected"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0")]
)
def test_ranks_beyond_a_machine_s_devices_share_them(monkeypatch, device, expected):
    called = {}
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: called.update(device=device))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name: called.update(group=name))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 4)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    found = find_ranks(device)
    assert (found.n, found.number) == (4, 3)
    assert called == {"device": torch.device(expected), "group": "nccl"}
    assert found.own_device(device) == torch.device(expected)


def test_compiled_steps_are_refused_where_several_ranks_train_together():
    found, _ = run_ranks(
        """
        job = job_of(mfcore.MF(3), optimizer="adam", batch_size=20)
        try:
            TorchBackend(compile=True).trainer(job)
        except mfcore.errors.InvalidArgumentError as error:
            tell(error=str(error), automatic=TorchBackend().trainer(job).compiled_step is None)
        """
    )
    assert len(found) == 2
    for line in found:
        assert line["error"].startswith("TorchBackend: compile is True, but 2 processes train together")
        assert "leave compile at 'auto'" in line["error"]
        assert line["automatic"]


def test_ranks_with_different_jobs_say_so():
    found, stderr = run_ranks(
        """
        job = job_of(mfcore.MF(3), optimizer="adam", batch_size=20 + int(os.environ["RANK"]))
        TorchBackend().trainer(job)
        """,
        check=False,
    )
    assert not found
    assert "rank 0 trains with batch_size 20 and rank 1 with 21" in stderr
