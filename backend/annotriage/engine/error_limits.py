"""Limits and costs of classes as the settings name them -> the indices of a label space. What names no class is refused."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from annotriage.engine.labels import LabelSpace
from annotriage.errors import SettingError
from annotriage.guarantee.error_limits import ClassLimit, ErrorLimits
from annotriage.settings import Settings

FloatArray = NDArray[np.float64]

ANY = "*"
INSTEAD, TOGETHER = ">", "|"  # "fracture > healthy": a fracture called healthy; "cyst | tumour": both


def error_limits(space: LabelSpace, settings: Settings) -> ErrorLimits:
    """What automatic labels have to keep under the settings. Raises SettingError as `refuse_unknown` does."""
    refuse_unknown(space, settings)
    never = np.isin(np.array(space.names, dtype=np.str_), list(space.names_with(settings.never_auto)))
    return ErrorLimits(
        settings.max_error, never, settings.max_error_per == "class", class_limits(space, settings), cost_table(space, settings)
    )


def refuse_unknown(space: LabelSpace, settings: Settings) -> None:
    """Raise SettingError if never_auto, class_limits or costs name no class of the model, saying which one may be meant."""
    for name in settings.never_auto:
        if name not in space.classes:
            raise _no_class("never_auto", name, space)
    class_limits(space, settings)
    cost_table(space, settings)


def class_limits(space: LabelSpace, settings: Settings) -> tuple[ClassLimit, ...]:
    """The limits of classes and groups of classes. Raises SettingError, also where a class is in two groups."""
    _refuse_several(space, settings.class_limits, "class_limits")
    found = [ClassLimit(key, _places(space, key, "class_limits"), limit) for key, limit in settings.class_limits]
    named = list(chain.from_iterable(part.classes for part in found))
    twice = next((place for place in named if named.count(place) > 1), None)
    if twice is not None:
        raise SettingError(f"setting class_limits: {space.classes[twice]!r} is in two of the limits; leave it in one")
    return tuple(found)


def cost_table(space: LabelSpace, settings: Settings) -> FloatArray | None:
    """What each error costs: (m + 1, m) by true class (the last row: none of them) and called class; None where all cost 1.

    What names a class goes before what says `*`. Raises SettingError.
    """
    _refuse_several(space, settings.costs, "costs")
    if not settings.costs:
        return None
    count = len(space.classes)
    table = np.ones((count + 1, count))
    pairs = [(*_pair(space, key), cost) for key, cost in settings.costs]
    for true, called, cost in sorted(pairs, key=lambda pair: (pair[0] != ANY) + (pair[1] != ANY)):
        rows = slice(None) if true == ANY else space.classes.index(true)
        columns = slice(None) if called == ANY else space.classes.index(called)
        table[rows, columns] = cost
    table[np.eye(count + 1, count, dtype=bool)] = 0.0
    if not table.any():
        raise SettingError("setting costs: no error costs anything; at least one has to")
    return None if np.all(table[~np.eye(count + 1, count, dtype=bool)] == 1.0) else table


def _pair(space: LabelSpace, key: str) -> tuple[str, str]:
    """The true and the called class that a cost is named after. A class's name may hold the sign between them."""
    parts = key.split(INSTEAD)
    splits = [(INSTEAD.join(parts[:place]).strip(), INSTEAD.join(parts[place:]).strip()) for place in range(1, len(parts))]
    if not splits:
        raise SettingError(f"setting costs: {key!r} names one class; say which is called what, as {space.classes[0]} > {space.classes[-1]}")
    known = {*space.classes, ANY}
    true, called = next((split for split in splits if known.issuperset(split)), splits[0])
    for name in (true, called):
        if name not in known:
            raise _no_class("costs", name, space)
    if true == called != ANY:
        raise SettingError(f"setting costs: {key!r} is no error; what is called right costs nothing")
    return true, called


def _places(space: LabelSpace, key: str, setting: str) -> tuple[int, ...]:
    """The classes that a key names: one, or several with | between them."""
    names = [key] if key in space.classes else [name.strip() for name in key.split(TOGETHER)]
    for name in names:
        if name not in space.classes:
            raise _no_class(setting, name, space)
    return tuple(dict.fromkeys(space.classes.index(name) for name in names))


def _refuse_several(space: LabelSpace, given: object, setting: str) -> None:
    if given and space.multiple:
        raise SettingError(f"setting {setting}: the model gives several classes at once, and only a model that gives one can have them")


def _no_class(setting: str, name: str, space: LabelSpace) -> SettingError:
    meant = space.meant(name)
    hint = "" if meant is None else f"; did you mean {meant!r}?"
    return SettingError(f"setting {setting}: {name!r} is none of the model's classes ({', '.join(space.classes)}){hint}")
