"""What is said where memory is too small."""

import pytest

from mfcore.engines import smaller_batches
from mfcore.engines.memory import shortage, size_of
from mfcore.errors import DeviceMemoryError


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (1_023, "1023 bytes"),
        (1_024, "1.0 KiB"),
        (3 << 19, "1.5 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 40, "3072.0 GiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_it_reaches(n_bytes, words):
    assert size_of(n_bytes) == words


def test_a_shortage_says_where_what_is_needed_and_what_to_change():
    error = shortage("cuda:1", {"parameters": 5 << 30, "a batch": 1_023}, "use less")
    assert isinstance(error, DeviceMemoryError)
    assert str(error) == (
        "out of memory on cuda:1: the job needs about 5.0 GiB (parameters 5.0 GiB, a batch 1023 bytes);"
        " use less"
    )


def test_another_device_is_advised_only_where_there_is_one():
    assert smaller_batches(1_000, on_cpu=False) == (
        "lower batch_size (1,000) or the number of factors, take an optimizer with fewer slots (SGD has none,"
        " Adam two), or pass device='cpu'"
    )
    assert smaller_batches(1_000, on_cpu=True).endswith(
        ", or take an optimizer with fewer slots (SGD has none, Adam two)"
    )
