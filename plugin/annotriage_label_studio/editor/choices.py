"""One more choice in a labeling config, or one less: everything else stays to the letter. What cannot be changed so, says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from annotriage.errors import DataError
from annotriage.text import name_of
from annotriage_label_studio.editor.labeling_config import DECLARATION, LEVEL, ChoicesControl, choices_control

LONGEST = 100  # characters of a choice
LAST = "none-of-these"  # alias of the choice that fits nowhere, which stays the last one


@dataclass(frozen=True)
class _Tag:
    """A Choice among those of the control. start, end: in the config, of all of it."""

    start: int
    attributes: dict[str, str]


def with_choice(config: str, control: ChoicesControl, value: str) -> str:
    """The config with one more choice of a control, at the end, but before the one that means none of them.

    Raises DataError if that is no name for a choice, is there already, or cannot be added without touching something else.
    """
    value = " ".join(value.split())
    if not value or len(value) > LONGEST or not value.isprintable() or LEVEL in value or "|" in value:
        raise DataError(f"{value[:40]!r} is no name of a class; it has 1 to {LONGEST} characters, none of them {LEVEL} or |")
    taken = {name_of(name).casefold(): choice.value for choice in control.choices for name in (choice.value, choice.result, *choice.names)}
    if name_of(value).casefold() in taken:
        raise DataError(f"the labeling config offers {taken[name_of(value).casefold()]!r} already")
    line = f"<Choice value={quoteattr(value)}/>"
    if control.nested:
        raise DataError(_by_hand(control, line, "its choices lie within one another"))
    tags, end = _tags(config, control)
    if not tags:
        raise DataError(_by_hand(control, line, "its choices are not written one below the other"))
    last = tags[-1]
    if last.attributes.get("alias") == LAST and len(tags) > 1:
        added = config[: last.start] + line + _before(config, last.start) + config[last.start :]
    else:
        head = config[:end].rstrip()
        gap = _before(config, last.start) if "\n" in config[len(head) : end] else ""
        added = head + gap + line + config[len(head) : end] + config[end:]
    return _checked(added, control, line, [*(choice.result for choice in control.choices), value])


def without_choice(config: str, control: ChoicesControl, value: str) -> str:
    """The config without a choice that was added so. Raises DataError if it is not there as it was added."""
    line = f"<Choice value={quoteattr(value)}/>"
    tags, _ = _tags(config, control)
    found = next((tag for tag in tags if tag.attributes == {"value": value} and config.startswith(line, tag.start)), None)
    if found is None:
        raise DataError(f"the labeling config does not hold {line} any more as it was added; take the choice out there by hand")
    gap = _before(config, found.start)
    less = config[: found.start - len(gap)] + config[found.start + len(line) :]
    return _checked(less, control, line, [choice.result for choice in control.choices if choice.result != value])


def _by_hand(control: ChoicesControl, line: str, why: str) -> str:
    return (
        f"the control {control.name!r} cannot be changed from here, because {why}. In the project, open Settings, Labeling Interface,"
        f" Code, and add {line} where it belongs in <Choices name={quoteattr(control.name)}>"
    )


def _before(config: str, start: int) -> str:
    """The line break and the indentation before a tag; "" if something else stands before it on its line."""
    head = config[:start]
    gap = head[len(head.rstrip(" \t")) :]
    before = head[: len(head) - len(gap)]
    for ending in ("\r\n", "\n"):
        if before.endswith(ending):
            return ending + gap
    return ""


def _checked(config: str, control: ChoicesControl, line: str, wanted: Sequence[str]) -> str:
    """The config, if it reads as what it should be."""
    found = choices_control(config, names=[control.name])
    if found.name != control.name or sorted(choice.result for choice in found.choices) != sorted(wanted):
        raise DataError(_by_hand(control, line, "it is not written as others are"))
    return config


def _tags(config: str, control: ChoicesControl) -> tuple[list[_Tag], int]:
    """The choices right below the control, in their order, and where the control's closing tag stands; places in the text."""
    declaration = DECLARATION.match(config)
    skipped = declaration.end() if declaration else 0
    content = config[skipped:].encode("utf-8")
    tags: list[_Tag] = []
    path: list[bool] = []  # of each open element, whether it is the control
    ends: list[int] = []
    parser = expat.ParserCreate("utf-8")
    read, characters = 0, skipped  # bytes up to the last place, and that place

    def place() -> int:
        nonlocal read, characters
        characters += len(content[read : parser.CurrentByteIndex].decode("utf-8"))
        read = parser.CurrentByteIndex
        return characters

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "Choice" and path and path[-1]:
            tags.append(_Tag(place(), attributes))
        path.append(name == "Choices" and attributes.get("name") == control.name)

    def end(name: str) -> None:
        if path.pop():
            ends.append(place())

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(content, True)
    return tags, ends[0] if ends else 0
