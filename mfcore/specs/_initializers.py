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
    """A named distribution of initial values.

    Examples
    --------
    >>> import mfcore
    >>> init = mfcore.Normal(std=0.1)
    >>> init.draw("user_factors", (2, 3), seed=0).round(3)
    array([[-0.033, -0.194,  0.032],
           [-0.064,  0.125,  0.351]])
    """

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
    """Every value is `value`.

    Attributes
    ----------
    value : float

    Raises
    ------
    InvalidArgumentError
        The value is not a finite number.

    Examples
    --------
    >>> import mfcore
    >>> mfcore.Constant(1.5).draw("temperature", (2,), seed=0)
    array([1.5, 1.5])
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        require_number("Constant: value", self.value)

    def draw(self, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float64]:
        """Return an array filled with the value."""
        return np.full(shape, self.value)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal values of mean 0, by the Box-Muller transform of Philox words.

    Source: Box & Muller, "A note on the generation of random normal deviates", Annals of Mathematical
    Statistics 29(2), 1958.

    Attributes
    ----------
    std : float
        Standard deviation, at least 0.

    Raises
    ------
    InvalidArgumentError
        std is negative or not a finite number.

    Examples
    --------
    >>> import mfcore
    >>> values = mfcore.Normal(std=0.1).draw("user_factors", (1000, 10), seed=0)
    >>> float(values.std().round(3))
    0.101
    """

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
    """Uniform values in (low, high).

    Attributes
    ----------
    low, high : float

    Raises
    ------
    InvalidArgumentError
        low is above high, or one is not a finite number.

    Examples
    --------
    >>> import mfcore
    >>> values = mfcore.Uniform(-0.5, 0.5).draw("user_factors", (1000, 10), seed=0)
    >>> bool((abs(values) < 0.5).all())
    True
    """

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

    Examples
    --------
    >>> import mfcore
    >>> values = mfcore.GlorotUniform().draw("dense_0/kernel", (4, 2), seed=0)
    >>> values.shape, bool((abs(values) < 1).all())
    ((4, 2), True)
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
