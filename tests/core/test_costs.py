"""The work in an epoch of a job, and what it is estimated to take."""

import json

import pytest

from mfcore import GMF, MF, WALS, Adam, Interactions, NeuMF, TwoTower
from mfcore.engines import Work, costs
from mfcore.engines.costs import Costs


def test_work_counts_steps_instances_and_negatives(ratings, job_of):
    job = job_of(GMF(4), ratings, optimizer=Adam(), n_negatives=2, batch_size=100)
    work = Work.of(job)
    assert (work.family, work.steps, work.instances, work.negatives) == (costs.BATCHES, 12, 1_200, 800)
    # Two rows of 4 factors, and the dense unit's kernel of 4 and bias.
    assert work.products == 1_200 * (4 + 4 + 4 + 1)


def test_work_counts_every_kernel_of_a_tower(ratings, job_of):
    one, two = (Work.of(job_of(NeuMF(2, layers), ratings)) for layers in ((8, 4), (16, 8, 4)))
    # Wider embeddings (two of 8 for two of 4), and one more kernel of 16 x 8 with its bias.
    assert (two.products - one.products) / len(ratings) == 2 * (8 - 4) + 16 * 8 + 8
    assert one.family == two.family == costs.THROUGH_LAYERS


def test_a_pair_is_scored_twice(ratings, job_of):
    pointwise = Work.of(job_of(MF(4), ratings, optimizer=Adam(), n_negatives=1))
    pairwise = Work.of(job_of(MF(4), ratings, optimizer=Adam(), objective="bpr", n_negatives=1))
    assert pairwise.instances == len(ratings)
    assert pairwise.products == pointwise.products


def test_the_in_batch_softmax_scores_all_pairs_of_a_batch(ratings, job_of):
    small, large = (
        Work.of(job_of(TwoTower(8, (4,)), ratings, objective="in_batch_softmax", batch_size=size))
        for size in (100, 200)
    )
    assert large.products - small.products == len(ratings) * 100 * 4


def test_single_steps_count_rounds_of_one_from_each_block(job_of):
    data = Interactions.from_columns(*[range(200_000)] * 2)
    work = Work.of(job_of(MF(2), data))
    assert work.family == costs.SINGLE_STEPS
    assert 1 < work.instances / work.steps <= 32


@pytest.mark.parametrize(("solver", "power"), [("cg", 1), ("cholesky", 2), ("subspace", 1)])
def test_solvers_of_wals_cost_a_power_of_the_factors_for_each_interaction(job_of, solver, power):
    """On data of many more interactions than rows."""
    grid = [[row // 300 for row in range(90_000)], [row % 300 for row in range(90_000)]]
    data = Interactions.from_columns(*grid)
    small, large = (
        Work.of(job_of(MF(k), data, optimizer=WALS(solver=solver, block_size=4))).products for k in (8, 16)
    )
    assert large / small == pytest.approx(2**power, rel=0.1)


def test_seconds_add_up_what_work_costs():
    work = Work("any", steps=100, instances=1_000, negatives=500, products=20_000)
    cost = Costs(2.0, step_us=10, instance_ns=100, negative_ns=200, product_ns=1, threads=2)
    epoch = 100 * 10e-6 + (1_000 * 100 + 500 * 200 + 20_000) * 1e-9
    assert cost.seconds(work, 3, threads=2) == pytest.approx(2 + 3 * epoch)
    assert cost.least_seconds_on_cuda(work, 3) == pytest.approx(2 + 3 * 100 * 10e-6)


def test_steps_are_not_shared_out_among_threads():
    cost = Costs(0.0, step_us=10, instance_ns=100, negative_ns=0, product_ns=0, threads=2)
    steps, instances = Work("any", 1e6, 0, 0, 0), Work("any", 0, 1e8, 0, 0)
    assert cost.seconds(steps, 1, threads=8) == cost.seconds(steps, 1, threads=2)
    assert cost.seconds(instances, 1, threads=8) == cost.seconds(instances, 1, threads=2) / 4


def test_the_costs_that_come_with_this_version_are_read_as_they_are_written():
    document = json.loads(costs.PATH.read_text(encoding="utf-8"))
    table = costs.measured()
    assert {name: set(engine["families"]) for name, engine in document["engines"].items()} == {
        name: set(families) for name, families in table.engines.items()
    }
    of_all = [cost for families in table.engines.values() for cost in families.values()]
    assert all(cost.start_s > 0 and cost.step_us + cost.instance_ns + cost.product_ns > 0 for cost in of_all)
