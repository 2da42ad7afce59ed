"""Samples of fixed size from a stream whose length nobody knows beforehand."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

from annotriage.guarantee.conformal import hashed_places

T = TypeVar("T")


class SeededSample(Generic[T]):
    """The `size` items whose ids have the smallest seeded hashes: uniform, and the same in whatever order they come."""

    def __init__(self, size: int, seed: int, purpose: str) -> None:
        self._size, self._seed, self._purpose = size, seed, purpose
        self._heap: list[tuple[float, int, T]] = []
        self._offered = 0

    def offer(self, id: str, make: Callable[[], T]) -> None:
        """Take `make()` in if the id belongs to the sample as far as the stream has come; the largest hash falls out."""
        place = float(hashed_places([id], self._seed, self._purpose)[0])
        full = len(self._heap) == self._size
        if full and place >= -self._heap[0][0]:
            return
        self._offered += 1
        entry = (-place, self._offered, make())
        heapq.heappushpop(self._heap, entry) if full else heapq.heappush(self._heap, entry)

    @property
    def outgoing(self) -> T | None:
        """What falls out when one more is taken in, also while that one is made; None as long as there is room."""
        return self._heap[0][2] if len(self._heap) == self._size else None

    def values(self) -> list[T]:
        """The sample, in the order of its places: any beginning of it is a smaller uniform sample."""
        return [value for _, _, value in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]


class Smallest(Generic[T]):
    """The `size` values with the smallest keys of a stream, in the order of their keys."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, T]] = []
        self._offered = 0

    def add(self, key: float, make: Callable[[], T]) -> None:
        """Take `make()` in if its key is among the smallest so far."""
        full = len(self._heap) == self._size
        if full and key >= -self._heap[0][0]:
            return
        self._offered += 1
        entry = (-key, -self._offered, make())
        heapq.heappushpop(self._heap, entry) if full else heapq.heappush(self._heap, entry)

    def values(self) -> list[T]:
        """The values kept, smallest key first, equal ones in the order in which they came."""
        return [value for _, _, value in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
