"""How well people answer, as people and programs read it: against known answers, against each other, and beside the model.

Names are told only where the setting show_people says so; else people are person A, person B, in the order of their accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from sqlalchemy import Connection

from annotriage.advice import people_words as words
from annotriage.advice.route_words import route_name
from annotriage.errors import AnnotriageError
from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.states import SHOWN, SPOT_CHECK, GoldState, Time
from annotriage.store import blind_answers as answers
from annotriage.store import gold
from annotriage.store.blind_answers import AlikeAnswers, BlindAnswer
from annotriage.store.gold import GoldAnswer
from annotriage.store.projects import Project, project_of

LEVEL = 0.05  # of all classes together, at which one of them is told of
MOST_CLASSES = 20  # of a matrix; the others are one
MOST_WEEKS = 26
FROM_ANSWERS = 20  # all alike, from which on somebody is told of
TOLD_FROM = 5  # answers a class on average, from which on one of them may be called rare
OTHERS = "other classes"
DAY = 86_400


@dataclass(frozen=True, slots=True)
class GoldClass:
    """People's answers where the known one is of this class. share: wrong ones, with 95% limits. called: how often they say it at all;
    over: where it is not. reading: what is to be said, "" if nothing."""

    name: str
    n: int
    wrong: int
    share: float
    low: float
    high: float
    called: int
    over: int
    rare: bool
    reading: str


@dataclass(frozen=True, slots=True)
class GoldFigures:
    """How often people are wrong, by known answers.

    share: of gold among what people are handed. waiting, open, answered: known answers and tasks. answers, wrong: what people said; error
    with its 95% limits, null without answers. unfit: known answers left out, as their labels are no longer offered.
    """

    share: float
    waiting: int
    open: int
    answered: int
    answers: int
    wrong: int
    error: float | None
    low: float | None
    high: float | None
    unfit: int
    classes: tuple[GoldClass, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """How far people agree: of two people on one task raw, beyond chance alpha (Krippendorff), kappa (`cohen` of two people, `fleiss` of
    equally many each; null where it does not apply), the first two with 95% limits. All null without such tasks."""

    items: int
    raw: float | None
    raw_low: float | None
    raw_high: float | None
    alpha: float | None
    alpha_low: float | None
    alpha_high: float | None
    kappa: float | None
    kappa_kind: str | None
    left_out: int
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnchoringLine:
    """Items of one route. shown, changed: suggestions in view, and those that people contradicted; blind, wrong: the same of blind answers.
    kept: of wrong suggestions, with 95% limits; null where none is known."""

    route: str
    shown: int
    changed: int
    blind: int
    wrong: int
    kept: float | None
    low: float | None
    high: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class RateLine:
    """A class among answers on items of one route: its share with a suggestion in view, and blind, with 95% limits."""

    route: str
    name: str
    shown: int
    shown_share: float
    blind: int
    blind_share: float
    low: float
    high: float
    rare: bool
    reading: str


@dataclass(frozen=True, slots=True)
class RouteLine:
    """Of the items of one route that were answered blind, how often the model was right."""

    route: str
    n: int
    right: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Week:
    """A week, by its Monday as 2026-11-23. right: of n blind answers those that agree with the model."""

    monday: str
    n: int
    right: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """What the model says (rows) and what people answer blind (columns), in `classes`. counts: a row per class of the model."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Which blind answers are looked at; null: all. week: by its Monday; said: the model's label; answered: people's."""

    week: str | None = None
    route: str | None = None
    said: str | None = None
    answered: str | None = None

    @property
    def chosen(self) -> bool:
        """Whether one cell is asked for, or a row, or a column."""
        return self.said is not None or self.answered is not None


@dataclass(frozen=True, slots=True)
class BlindFigures:
    """The model against people who answer blind. n: answers; weeks: the latest first. items: behind the cell that is asked for.

    contradicted: of n, those on which one person's word awaits a second answer. They count as wrong, under "spot check" as long as nobody
    may know their route, and are in no matrix and no list. 0 for who may only look: they are in n and weeks alone.
    """

    n: int
    contradicted: int
    routes: tuple[RouteLine, ...]
    weeks: tuple[Week, ...]
    matrix: Matrix
    cell: Cell
    items: tuple[BlindAnswer, ...]
    found: int


@dataclass(frozen=True, slots=True)
class PersonLine:
    """Somebody who answers. gold, wrong: answers where the right one is known, and wrong ones, with 95% limits of their share."""

    person: str
    answers: int
    gold: int
    wrong: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class GoldLine:
    """A gold task that was answered, for those who manage."""

    item_id: int
    task: str
    of: str
    known: str
    given: str
    person: str
    right: bool
    at: Time


@dataclass(frozen=True, slots=True)
class PeopleState:
    """How well people answer. notes: what keeps a figure from being told, and what to do."""

    gold: GoldFigures
    agreement: AgreementFigures
    anchoring: tuple[AnchoringLine, ...]
    rates: tuple[RateLine, ...]
    blind: BlindFigures
    people: tuple[PersonLine, ...]
    answered_gold: tuple[GoldLine, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """What people are called, by their account."""

    known: Mapping[str, str] = field(default_factory=dict)

    def of(self, person: str) -> str:
        return self.known.get(person, "somebody")


def people(project: str, *, settings: ServiceSettings | None = None) -> PeopleState:
    """How well people answer in a connected project. project: its id in the labeling tool.

    settings: of the service, whose database is read; by default those of the environment. Raises UnknownError.
    """
    process = Process(settings or ServiceSettings.load(), "command")
    try:
        with process.store.reading() as connection:
            return people_state(process, connection, project_of(connection, project), managers=True)
    finally:
        process.close()


def people_state(
    process: Process, connection: Connection, project: Project, cell: Cell = Cell(), *, managers: bool = False, limit: int = 100
) -> PeopleState:
    """How well people answer in a project. cell: whose items are listed, `limit` at most. managers: tell the answered gold tasks."""
    by_person = answers.answers_of(connection, project)
    known = gold.gold_answers(connection, project.id)
    names = _names(process, sorted(by_person | dict.fromkeys(answer.person for answer in known)))
    contradicted = answers.contradicted_checks(connection, project)
    first = answers.first_answers(connection, project)
    figures = _gold(connection, project, known)
    return PeopleState(
        gold=figures,
        agreement=_agreement(connection, project),
        anchoring=_anchoring(first),
        rates=_rates(first),
        blind=_blind(connection, project, contradicted, cell, limit),
        people=_people(names, by_person, known),
        answered_gold=tuple(_gold_line(names, answer) for answer in known[:limit]) if managers else (),
        notes=tuple(_notes(names, by_person, 0 if project.hides_checks else contradicted.total())),
    )


def people_error(connection: Connection, project: Project) -> str:
    """How often people are wrong, in a sentence that stands beside the guarantee."""
    from annotriage.guarantee.binomial import clopper_pearson

    fit = [answer for answer in gold.gold_answers(connection, project.id) if answer.fits]
    if fit:
        wrong = sum(_is_wrong(answer) for answer in fit)
        said = words.beside_guarantee(wrong, len(fit), *clopper_pearson(wrong, len(fit)))
        return f"{said} {words.ALL_WRONG}" if wrong == len(fit) else said
    there = gold.gold_counts(connection, project.id)
    waiting, out = there.get(GoldState.WAITING, 0), there.get(GoldState.OPEN, 0) + there.get(GoldState.SENDING, 0)
    if not waiting and not out:
        return f"{words.NO_GOLD} {words.TO_KNOW}"
    return f"How often people are wrong is not measured yet. {words.gold_state(project.options.gold_share, waiting, out, 0)}"


def _is_wrong(answer: GoldAnswer) -> bool:
    return set(answer.given) != set(answer.known)


def _gold(connection: Connection, project: Project, known: Sequence[GoldAnswer]) -> GoldFigures:
    from annotriage.guarantee.binomial import clopper_pearson  # heavy: loaded with the first of these pages
    from annotriage.quality.bias import callings

    there = gold.gold_counts(connection, project.id)
    waiting, out = there.get(GoldState.WAITING, 0), there.get(GoldState.OPEN, 0) + there.get(GoldState.SENDING, 0)
    fit = [answer for answer in known if answer.fits]
    truth = [words.known_label(sorted(answer.known)) for answer in fit]
    called = [words.known_label(sorted(answer.given)) for answer in fit]
    lines = callings(truth, called)
    classes = []
    for line in lines:
        rare = _is_rare(line.true, len(fit), len(lines))
        told = line.p < LEVEL / max(len(lines), 1)
        limits = clopper_pearson(line.missed, line.true) if line.true else (0.0, 1.0)
        said = words.calling_sentence(line.name, rare, line.missed, line.over) if told else ""
        share = line.missed / line.true if line.true else 0.0
        classes.append(GoldClass(line.name, line.true, line.missed, share, *limits, line.called, line.over, rare, said))
    wrong = sum(_is_wrong(answer) for answer in fit)
    unfit = gold.unfit_count(connection, project.id)
    low, high = clopper_pearson(wrong, len(fit)) if fit else (None, None)
    sentences = []
    if fit and low is not None and high is not None:
        sentences.append(words.gold_sentence(wrong, len(fit), low, high))
        sentences += [words.ALL_WRONG] if wrong == len(fit) else []
        sentences += [words.ONE_CLASS] if len(set(truth)) == 1 else []
    sentences.append(words.gold_state(project.options.gold_share, waiting, out, there.get(GoldState.ANSWERED, 0)))
    sentences += [words.TO_KNOW] if sentences == [words.NO_GOLD] else []
    sentences += [words.left_out_unfit(unfit)] if unfit else []
    sentences += [line.reading for line in classes if line.reading]
    return GoldFigures(
        share=project.options.gold_share,
        waiting=waiting,
        open=out,
        answered=there.get(GoldState.ANSWERED, 0),
        answers=len(fit),
        wrong=wrong,
        error=wrong / len(fit) if fit else None,
        low=low,
        high=high,
        unfit=unfit,
        classes=tuple(classes),
        sentences=tuple(sentences),
    )


def _is_rare(n: int, total: int, classes: int) -> bool:
    """Whether a class is less than half as frequent as an average one, as far as that can be told from so many answers."""
    return classes > 1 and total >= TOLD_FROM * classes and n < total / (2 * classes)


def _agreement(connection: Connection, project: Project) -> AgreementFigures:
    from annotriage.quality.agreement import agreement, cohen_kappa, fleiss_kappa, label_counts

    several, left_out = answers.several_answers(connection, project)
    also = (words.left_out_second(left_out),) if left_out else ()
    given = [[words.known_label(labels) for labels in task.given.values()] for task in several]
    counts = label_counts(given)
    found = agreement(counts)
    if found is None:
        return AgreementFigures(0, None, None, None, None, None, None, None, None, left_out, (words.NOBODY_TWICE, *also))
    everybody = sorted({person for task in several for person in task.given})
    if len(everybody) == 2:
        sides = [[words.known_label(task.given[person]) for task in several] for person in everybody]
        kappa, kind = cohen_kappa(*sides), "cohen"
    else:
        kappa, kind = fleiss_kappa(counts), "fleiss"
    sentences = (words.agreement_sentence(found.items, found.raw, found.raw_low, found.raw_high), *also)
    sentences += (words.ALIKE,) if found.alpha is None else ()
    return AgreementFigures(
        found.items,
        found.raw,
        found.raw_low,
        found.raw_high,
        found.alpha,
        found.alpha_low,
        found.alpha_high,
        kappa,
        None if kappa is None else kind,
        left_out,
        sentences,
    )


def _anchoring(first: Sequence[answers.FirstAnswer]) -> tuple[AnchoringLine, ...]:
    from annotriage.quality.bias import anchoring

    lines = []
    for route in SHOWN:
        sides = [[some for some in first if some.route == route and some.blind == blind] for blind in (False, True)]
        if not sides[0]:
            continue
        counted = ((sum(some.n for some in side), sum(some.n for some in side if some.said != some.answered)) for side in sides)
        found = anchoring(*(number for pair in counted for number in pair))
        limits = (found.kept, found.low, found.high)
        said = words.anchoring_sentence(route_name(route), *limits, found.blind)
        lines.append(AnchoringLine(route, found.shown, found.changed, found.blind, found.wrong, *limits, said))
    return tuple(lines)


def _rates(first: Sequence[answers.FirstAnswer]) -> tuple[RateLine, ...]:
    from annotriage.quality.bias import rates

    lines = []
    for route in SHOWN:
        sides: tuple[list[str], list[str]] = ([], [])
        for some in first:
            if some.route == route:
                sides[some.blind].extend([words.known_label(some.answered)] * some.n)
        found = rates(*sides)
        for rate in found:
            seen, said = rate.shown_called / rate.shown, rate.blind_called / rate.blind
            rare = _is_rare(rate.blind_called, rate.blind, len(found))
            told = rate.p < LEVEL / (len(SHOWN) * len(found))
            reading = words.rate_sentence(rate.name, rare, route_name(route), seen, said) if told else ""
            lines.append(RateLine(route, rate.name, rate.shown, seen, rate.blind, said, rate.low, rate.high, rare, reading))
    return tuple(lines)


def _blind(connection: Connection, project: Project, contradicted: Mapping[int, int], cell: Cell, limit: int) -> BlindFigures:
    """contradicted: checks that await a second answer, by day; where checks are hidden, how many they are is not told."""
    from annotriage.guarantee.binomial import clopper_pearson

    every, hidden = answers.alike_answers(connection, project), project.hides_checks
    weeks, weeks_right = Counter[str](), Counter[str]()
    for some in every:
        weeks[_monday_of(some.day)] += some.n
        weeks_right[_monday_of(some.day)] += some.n * some.right
    for day, n in contradicted.items():
        weeks[_monday_of(day)] += n
    within = [some for some in every if cell.week in (None, _monday_of(some.day))]
    routes, routes_right = Counter[str](), Counter[str]()
    for some in within:
        routes[some.route] += some.n
        routes_right[some.route] += some.n * some.right
    for day, n in () if hidden else contradicted.items():
        if cell.week in (None, _monday_of(day)):
            routes[SPOT_CHECK] += n
    lines = tuple(RouteLine(route, n, routes_right[route], *clopper_pearson(routes_right[route], n)) for route, n in sorted(routes.items()))
    within = [some for some in within if cell.route in (None, some.route)]
    matrix = _matrix(within)
    named = set(matrix.classes)

    def is_in(some: AlikeAnswers) -> bool:
        of_it = cell.week in (None, _monday_of(some.day)) and cell.route in (None, some.route)
        return of_it and cell.said in (None, _in(named, some.said)) and cell.answered in (None, _in(named, some.answered))

    chosen = answers.blind_answers(connection, project, is_in, limit) if cell.chosen else ()
    shown = tuple(Week(day, n, weeks_right[day]) for day, n in sorted(weeks.items(), reverse=True)[:MOST_WEEKS])
    found = sum(some.n for some in within if is_in(some))
    contradictions = 0 if hidden else sum(contradicted.values())
    return BlindFigures(weeks.total(), contradictions, lines, shown, matrix, cell, tuple(chosen), found)


def _matrix(every: Sequence[AlikeAnswers]) -> Matrix:
    often: Counter[str] = Counter()
    for some in every:
        for labels in (some.said, some.answered):
            often[_called(labels)] += some.n
    kept = [name for name, _ in often.most_common()][: MOST_CLASSES if len(often) <= MOST_CLASSES else MOST_CLASSES - 1]
    classes = (*sorted(kept), *((OTHERS,) if len(kept) < len(often) else ()))
    named = set(classes)
    cells = Counter[tuple[str, str]]()
    for some in every:
        cells[_in(named, some.said), _in(named, some.answered)] += some.n
    return Matrix(classes, tuple(tuple(cells[said, answered] for answered in classes) for said in classes))


def _in(named: set[str], labels: tuple[str, ...]) -> str:
    text = _called(labels)
    return text if text in named else OTHERS


@lru_cache(10_000)  # of thousands of answers few differ
def _called(labels: tuple[str, ...]) -> str:
    return words.known_label(sorted(labels))


@lru_cache(10_000)
def _monday_of(day: int) -> str:
    """The Monday of the week of a day, which is counted from 1970-01-01, as 2026-11-23 (UTC)."""
    found = datetime.fromtimestamp(day * DAY, UTC).date()
    return (found - timedelta(days=found.weekday())).isoformat()


def _people(names: _Names, by_person: Mapping[str, Mapping[tuple[str, ...], int]], known: Sequence[GoldAnswer]) -> tuple[PersonLine, ...]:
    from annotriage.guarantee.binomial import clopper_pearson

    lines = []
    for person in sorted(names.known):
        mine = [answer for answer in known if answer.person == person and answer.fits]
        wrong = sum(_is_wrong(answer) for answer in mine)
        low, high = clopper_pearson(wrong, len(mine)) if mine else (None, None)
        lines.append(PersonLine(names.of(person), sum(by_person.get(person, {}).values()), len(mine), wrong, low, high))
    return tuple(sorted(lines, key=lambda line: (-line.answers, line.person)))


def _gold_line(names: _Names, answer: GoldAnswer) -> GoldLine:
    known, given = words.known_label(sorted(answer.known)), words.known_label(sorted(answer.given))
    return GoldLine(answer.item_id, answer.task, answer.of, known, given, names.of(answer.person), not _is_wrong(answer), answer.at)


def _notes(names: _Names, by_person: Mapping[str, Mapping[tuple[str, ...], int]], contradicted: int) -> list[str]:
    if not by_person:
        return [words.NO_ANSWERS]
    several = len({labels for mine in by_person.values() for labels in mine}) > 1
    notes = [words.contradicted_sentence(contradicted)] if contradicted else []
    return notes + [
        words.monotone_sentence(names.of(person), sum(mine.values()), words.known_label(next(iter(mine))))
        for person, mine in sorted(by_person.items())
        if several and len(mine) == 1 and sum(mine.values()) >= FROM_ANSWERS
    ]


def _names(process: Process, accounts: Sequence[str]) -> _Names:
    """Letters in the order of the accounts, or names where the setting says so and the labeling tool tells them."""
    ordered = sorted(accounts, key=lambda id: (not id.isdigit(), int(id) if id.isdigit() else 0, id))
    lettered = {id: words.letters(place) for place, id in enumerate(ordered)}
    if process.settings.show_people != "on":
        return _Names(lettered)
    try:
        told = {account.id: account.name for account in process.server.accounts()}
    except AnnotriageError:  # the labeling tool does not answer: nobody is named until it does
        told = {}
    return _Names({id: told.get(id, lettered[id]) for id in ordered})
