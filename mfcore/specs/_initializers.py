"""Initial values, drawn by the core so that they are the same on every engine."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mfcore.errors import InvalidArgumentError
from mfcore.sampling import philox
from mfcore.settings import Settings
from mfcore.validation import require_number


@dataclass(frozen=True)
class Initializer(Settings, ABC):
    """A named distribution of initial values."""

    @abstractmethod
    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return initial values.

        Parameters
        ----------
        name : str
            The parameter's name; parameters of one seed draw from separate streams by their names.
        shape : tuple of int
        seed : int

        Returns
        -------
        float64 array of that shape
        """


@dataclass(frozen=True)
class Constant(Initializer):
    """Every value is `value`."""

    value: float = 0.0

    def __post_init__(self) -> None:
        require_number("Constant: value", self.value)

    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return an array filled with the value."""
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal values of mean 0 and standard deviation `std`, by the Box-Muller transform of Philox words."""

    std: float = 0.01

    def __post_init__(self) -> None:
        require_number("Normal: std", self.std, at_least=0)

    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return std times standard normal values."""
        uniform = _uniforms(name, shape, seed)
        radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
        angle = 2.0 * np.pi * uniform[1::2]
        normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
        return self.std * normal[: _size(shape)].reshape(shape)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform values in (low, high)."""

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        require_number("Uniform: low", self.low)
        require_number("Uniform: high", self.high)
        if self.low > self.high:
            raise InvalidArgumentError(f"Uniform: low is {self.low} and high {self.high}; exchange them")

    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return low + (high - low) times uniform values."""
        uniform = _uniforms(name, shape, seed)[: _size(shape)]
        return (self.low + (self.high - self.low) * uniform).reshape(shape)


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform values in (-a, a), a = sqrt(6 / (n_in + n_out)), for a dense kernel [n_in, n_out].

    Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.
    """

    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return a (2 u - 1) for uniform u; the first and the last axis count inputs and outputs."""
        limit = float(np.sqrt(6.0 / (shape[0] + shape[-1])))
        return Uniform(-limit, limit).draw(name, shape, seed)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _uniforms(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    n_counters = -(-_size(shape) // 4)
    drawn = philox.words(
        seed, philox.Purpose.INITIAL_VALUES, crc32(name.encode()), np.arange(n_counters, dtype=np.int64)
    )
    return philox.uniforms(np.stack(drawn, axis=1).ravel())
