"""A project's labeling config: which control takes the model's answer, and which of its choices each class is.

The SDK's LabelInterface reads it, loaded when the first one is read: it takes 0.4 s. What a choice is called by whom (value, alias,
predicted values), it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from annotriage.errors import DataError
from annotriage.text import name_of

if TYPE_CHECKING:
    from label_studio_sdk.label_interface.interface import LabelInterface

DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")  # names an encoding, which text has no longer


@dataclass(frozen=True)
class Choice:
    """One choice: the value that annotators see; the names by which a class may mean it; the name that results hold.

    Of a choice within others, value and result are the whole path, as "Tibia/left". names: as `name_of` composes them. path: the
    result, level by level.
    """

    value: str
    names: tuple[str, ...]
    result: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChoicesControl:
    """A Choices tag: its `name` and `toName`, the object's tag and data field, and its choices.

    multiple: whether several choices may be given at once. choices: empty if any class name is taken as it is. nested: choices lie
    within choices, so that results hold paths.
    """

    name: str
    to_name: str
    object_tag: str
    field: str
    multiple: bool
    choices: tuple[Choice, ...] = ()
    nested: bool = False

    def as_stored(self, result: str) -> str | list[str]:
        """A choice, by its result, as Label Studio stores it."""
        return list(self._paths[result]) if self.nested else result

    def choice_of(self, name: str) -> Choice | None:
        """The first choice that has the name; of none, the first that has it in other letter case."""
        name = name_of(name)
        return self._named.get(name) or self._folded.get(name.casefold())

    @cached_property
    def _paths(self) -> dict[str, tuple[str, ...]]:
        return {choice.result: choice.path for choice in reversed(self.choices)}

    @cached_property
    def _named(self) -> dict[str, Choice]:
        return {name: choice for choice in reversed(self.choices) for name in choice.names}

    @cached_property
    def _folded(self) -> dict[str, Choice]:
        return {name.casefold(): choice for choice in reversed(self.choices) for name in choice.names}


DEFAULT_CONTROL = ChoicesControl("label", "image", "Image", "image", multiple=True)
LISTED = 100  # names in one sentence
LEVEL = "/"  # between a choice and the one within it, in the name of their path


def read_control(file: Path, classes: Sequence[str] = (), names: Sequence[str] = ()) -> ChoicesControl:
    """The control in a labeling config file that the model answers; see `choices_control`. Raises DataError."""
    return read_config(file, classes, names)[0]


def read_config(file: Path, classes: Sequence[str], names: Sequence[str]) -> tuple[ChoicesControl, frozenset[str]]:
    """The same, and the names of all controls in the file, of whatever kind. Raises DataError."""
    try:
        config = file.read_text("utf-8-sig")
        return choices_control(config, classes, names), frozenset(control.name for control in _parsed(config).controls)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check the path given as labeling config") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}); save the labeling config as UTF-8") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def choices_control(config: str, classes: Sequence[str] = (), names: Sequence[str] = ()) -> ChoicesControl:
    """The Choices that the model answers: the first that is named, else that on an Image in which most of the classes have a choice.

    config: the labeling config's XML. classes: the model's. names: as the setting `control` has them; those of other configs may be
    among them. Raises DataError if it is not XML, declares a DTD or entities, or has no such control.
    """
    try:
        controls = list(_choices_controls(_parsed(config), config))
    except RecursionError:
        raise DataError("the labeling config is nested too deep to be read; copy it again from the project's settings") from None
    named = [control for name in names for control in controls if control.name == name]
    fitting = named or [control for control in controls if control.object_tag == "Image"]
    if not fitting:
        found = ", ".join(f"{control.name!r} on {control.object_tag or 'nothing'}" for control in controls) or "none"
        raise DataError(
            f"the labeling config has no <Choices> on an Image with its choices written in it (Choices found: {found}). It needs"
            ' <Image name="image" value="$image"/> and <Choices name="label" toName="image"> with one <Choice value="..."/> per class.'
            " Where another one is meant, the setting control names it"
        )
    return named[0] if named else max(fitting, key=lambda control: sum(control.choice_of(name) is not None for name in classes))


def match_classes(classes: Sequence[str], control: ChoicesControl) -> dict[str, str]:
    """For each class of the model, the name of its choice as results hold it.

    A class means the choice that has its name as value, alias or predicted value; letter case is looked at first and then
    disregarded. Raises DataError with the first hundred of both if a class has no choice, or two classes have the same.
    """
    if not control.choices:
        return {name: name for name in classes}
    matched = {name: control.choice_of(name) for name in classes}
    of_model, values = _listed(classes), _listed([choice.value for choice in control.choices])
    missing = [name for name, choice in matched.items() if choice is None]
    if missing:
        raise DataError(
            f"the labeling config's control {control.name!r} has no choice for {_listed(missing)}."
            f" Classes of the model: {of_model}. Choices: {values}."
            f' Add <Choice value="{missing[0]}"/>, or give the choice that means it alias="{missing[0]}". (Choices within choices count'
            ' only with allownested="true"; where another control is meant, the setting control names it)'
        )
    results = {name: choice.result for name, choice in matched.items() if choice}
    meant: dict[str, str] = {}
    for name, result in results.items():
        other = meant.setdefault(result, name)
        if other != name:
            raise DataError(
                f"the classes {min(name, other)!r} and {max(name, other)!r} of the model both mean the choice {result!r} of the control"
                f" {control.name!r}. Classes of the model: {of_model}. Choices: {values}. Give each class a choice of its own"
            )
    return results


def answer_names(control: ChoicesControl, classes: Sequence[str]) -> dict[str, str]:
    """For each choice as answers hold it (its alias, if it has one, or its value): the class that means it, else its value.

    All names are composed (`name_of`).
    """
    meant = {choice.result: name_of(name) for name in reversed(classes) if (choice := control.choice_of(name))}
    names = {name_of(choice.value): meant.get(choice.result, name_of(choice.value)) for choice in control.choices}
    return names | {name_of(choice.result): meant.get(choice.result, name_of(choice.value)) for choice in control.choices}


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence can hold them: some projects have a hundred thousand choices."""
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more


def _parsed(config: str) -> LabelInterface:
    from label_studio_sdk._legacy.exceptions import LabelStudioXMLSyntaxErrorSentryIgnored as SyntaxProblem
    from label_studio_sdk.label_interface.interface import LabelInterface

    if re.search(r"<!(DOCTYPE|ENTITY)", config, re.IGNORECASE):
        raise DataError("the labeling config declares a DTD or entities, which are not read; remove the <!...> declaration")
    try:
        return LabelInterface(DECLARATION.sub("", config))
    except (SyntaxProblem, ValueError) as error:
        raise DataError(f"the labeling config is not valid XML ({error}); copy it again from the project's settings") from error


def _choices_controls(interface: LabelInterface, config: str) -> Iterator[ChoicesControl]:
    """The Choices that label a whole item and whose choices are written in the config."""
    written = {element.get("name"): element for element in ElementTree.fromstring(DECLARATION.sub("", config)).iter("Choices")}
    for tag in interface.controls:
        if tag.name not in written or tag.attr.get("perRegion", "false").lower() == "true":
            continue
        nested = tag.attr.get("allownested", "false").lower() == "true"
        choices = tuple(_choices(written[tag.name], nested, (), ()))
        if choices:
            shown = next((shown for shown in tag.objects if shown.attr.get("value", "").startswith("$")), None)
            object_tag, field = ("", "") if shown is None else (shown.tag, shown.value_name)
            yield ChoicesControl(tag.name, tag.to_name[0].strip(), object_tag, field, tag.is_multiple_choice, choices, nested)


def _choices(element: ElementTree.Element, nested: bool, values: tuple[str, ...], results: tuple[str, ...]) -> Iterator[Choice]:
    """The choices below an element, in their order; without `nested` nobody can give inner ones.

    values, results: those of the choices around it.
    """
    for child in element:
        if child.tag != "Choice":
            yield from _choices(child, nested, values, results)
        elif value := child.get("value", ""):
            alias = child.get("alias", "")
            path, result = (*values, value), (*results, alias or value)
            predicted = (name.strip() for name in child.get("predicted_values", "").split(","))
            names = (value, alias, *predicted, LEVEL.join(path), LEVEL.join(result))
            yield Choice(LEVEL.join(path), tuple(dict.fromkeys(name_of(name) for name in names if name)), LEVEL.join(result), result)
            if nested:
                yield from _choices(child, nested, path, result)
