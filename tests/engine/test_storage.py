"""Fitted things as JSON and arrays: what is stored comes back the same."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from annotriage.engine.storage import from_tree, to_tree


@dataclass(frozen=True)
class Leaf:
    value: Any


@dataclass(frozen=True)
class Pair:
    first: Any
    second: Any


CLASSES = {"Leaf": Leaf, "Pair": Pair}

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
numbers = st.sampled_from([np.float16, np.float32, np.float64, np.int32, np.uint64, np.uint8, bool]).flatmap(
    lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)
trees = st.recursive(
    scalars | numbers,
    lambda part: st.one_of(
        st.lists(part, max_size=3).map(tuple),
        st.builds(Leaf, part),
        st.builds(Pair, part, part),
        st.dictionaries(st.text(max_size=5), part, max_size=3),
    ),
    max_leaves=12,
)


def stored(value):
    """Through a JSON text and an .npz, as `Reference.save` and `load` take them."""
    kept = {}
    text = json.dumps(to_tree(Leaf(value), kept), allow_nan=False)
    file = io.BytesIO()
    np.savez(file, **kept)
    file.seek(0)
    with np.load(file, allow_pickle=False) as read:
        return from_tree(json.loads(text), dict(read), CLASSES).value


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, Leaf | Pair):
        return type(one) is type(other) and same(tuple(vars(one).values()), tuple(vars(other).values()))
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and repr(one) == repr(other)


@given(trees)
def test_whatever_is_stored_comes_back_the_same(value):
    assert same(value, stored(value))


def test_lists_come_back_as_tuples():
    assert stored([1, [2.5]]) == (1, (2.5,))


def test_numpy_scalars_come_back_as_plain_numbers():
    assert stored((np.float32(0.5), np.int64(3), np.bool_(True))) == (0.5, 3, True)


def test_arrays_under_names_that_look_alike_are_kept_apart():
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}}
    assert same(value, stored(value))


def test_an_unknown_class_is_refused():
    with pytest.raises(KeyError, match="Popen"):
        from_tree({"$class": "Popen", "args": "ls"}, {}, CLASSES)
