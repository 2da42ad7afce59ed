"""A project's labeling config: which control takes the model's answer, and which of its choices each class is.

The SDK's LabelInterface reads it, loaded when the first one is read: it takes 0.4 s. What a choice is called by whom (value, alias,
predicted values), it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annotriage.errors import DataError

if TYPE_CHECKING:
    from label_studio_sdk.label_interface.interface import LabelInterface

DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")  # names an encoding, which text has no longer


@dataclass(frozen=True)
class Choice:
    """One choice: the value that annotators see; the names by which a class may mean it; the name that results hold."""

    value: str
    names: tuple[str, ...]
    result: str


@dataclass(frozen=True)
class ChoicesControl:
    """A Choices tag: its `name` and `toName`, the object's tag and data field, and its choices.

    multiple: whether several choices may be given at once. choices: empty if any class name is taken as it is.
    """

    name: str
    to_name: str
    object_tag: str
    field: str
    multiple: bool
    choices: tuple[Choice, ...] = ()


DEFAULT_CONTROL = ChoicesControl("label", "image", "Image", "image", multiple=True)


def read_control(file: Path) -> ChoicesControl:
    """The control that a labeling config file holds for images; see `choices_control`. Raises DataError."""
    try:
        return choices_control(file.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check the path given as labeling config") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}); save the labeling config as UTF-8") from error
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def choices_control(config: str, name: str | None = None) -> ChoicesControl:
    """The Choices of that name, or the first one on an Image.

    config: the labeling config's XML. Raises DataError if it is not XML, declares a DTD or entities, or has no such control.
    """
    controls = list(_choices_controls(_parsed(config)))
    fitting = [control for control in controls if (control.object_tag == "Image" if name is None else control.name == name)]
    if not fitting:
        wanted = "on an Image" if name is None else f"named {name!r}"
        found = ", ".join(f"{control.name!r} on {control.object_tag or 'nothing'}" for control in controls) or "none"
        raise DataError(
            f"the labeling config has no <Choices> {wanted} with its choices written in it (Choices found: {found}). It needs"
            ' <Image name="image" value="$image"/> and <Choices name="label" toName="image"> with one <Choice value="..."/> per class'
        )
    return fitting[0]


def match_classes(classes: Sequence[str], control: ChoicesControl) -> dict[str, str]:
    """For each class of the model, the name of its choice as results hold it.

    A class means the choice that has its name as value, alias or predicted value; letter case is looked at first and then
    disregarded. Raises DataError with both lists if a class has no choice, or two classes have the same.
    """
    if not control.choices:
        return {name: name for name in classes}
    matched = {name: _choice_of(name, control.choices) for name in classes}
    values = ", ".join(repr(choice.value) for choice in control.choices)
    missing = [name for name, choice in matched.items() if choice is None]
    if missing:
        raise DataError(
            f"the labeling config's control {control.name!r} has no choice for {', '.join(map(repr, missing))}."
            f" Classes of the model: {', '.join(map(repr, classes))}. Choices: {values}."
            f' Add <Choice value="{missing[0]}"/>, or give the choice that means it alias="{missing[0]}"'
        )
    results = {name: choice.result for name, choice in matched.items() if choice}
    for name, other in ((a, b) for a in results for b in results if a < b and results[a] == results[b]):
        raise DataError(
            f"the classes {name!r} and {other!r} of the model both mean the choice {results[name]!r} of the control {control.name!r}."
            f" Classes of the model: {', '.join(map(repr, classes))}. Choices: {values}. Give each class a choice of its own"
        )
    return results


def answer_names(control: ChoicesControl, classes: Sequence[str]) -> dict[str, str]:
    """For each choice as answers hold it (its alias, if it has one, or its value): the class that means it, else its value."""
    meant = {choice.result: name for name in reversed(classes) if (choice := _choice_of(name, control.choices))}
    names = {choice.value: meant.get(choice.result, choice.value) for choice in control.choices}
    return names | {choice.result: meant.get(choice.result, choice.value) for choice in control.choices}


def _choice_of(name: str, choices: Sequence[Choice]) -> Choice | None:
    exact = (choice for choice in choices if name in choice.names)
    folded = (choice for choice in choices if name.casefold() in map(str.casefold, choice.names))
    return next(exact, None) or next(folded, None)


def _parsed(config: str) -> LabelInterface:
    from label_studio_sdk._legacy.exceptions import LabelStudioXMLSyntaxErrorSentryIgnored as SyntaxProblem
    from label_studio_sdk.label_interface.interface import LabelInterface

    if re.search(r"<!(DOCTYPE|ENTITY)", config, re.IGNORECASE):
        raise DataError("the labeling config declares a DTD or entities, which are not read; remove the <!...> declaration")
    try:
        return LabelInterface(DECLARATION.sub("", config))
    except (SyntaxProblem, ValueError) as error:
        raise DataError(f"the labeling config is not valid XML ({error}); copy it again from the project's settings") from error


def _choices_controls(interface: LabelInterface) -> Iterator[ChoicesControl]:
    """The Choices that label a whole item and whose choices are written in the config."""
    for tag in interface.controls:
        choices = tuple(_choice(choice.attr) for choice in tag.labels_attrs.values())
        if tag.tag == "Choices" and choices and tag.attr.get("perRegion", "false").lower() != "true":
            shown = next((shown for shown in tag.objects if shown.attr.get("value", "").startswith("$")), None)
            object_tag, field = ("", "") if shown is None else (shown.tag, shown.value_name)
            yield ChoicesControl(tag.name, tag.to_name[0].strip(), object_tag, field, tag.is_multiple_choice, choices)


def _choice(attributes: Mapping[str, str]) -> Choice:
    value, alias = attributes.get("value", ""), attributes.get("alias", "")
    predicted = (name.strip() for name in attributes.get("predicted_values", "").split(","))
    return Choice(value, tuple(name for name in (value, alias, *predicted) if name), alias or value)
