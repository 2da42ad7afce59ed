"""The report of a training run: one HTML file that opens offline, with the same looks as the report of a triage."""

from __future__ import annotations

from pathlib import Path

from annotriage.advice import numbers
from annotriage.advice.guarantee_words import guarantee_sentence
from annotriage.advice.training_words import (
    comparison_sentence,
    gain_sentence,
    pruning_sentence,
    strange_sentence,
    takeover_sentence,
    visits_sentence,
)
from annotriage.model.layer_graph import layer_graph
from annotriage.report import training_charts as charts
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.layers_chart import layers_chart
from annotriage.report.layers_page import drawn_layers
from annotriage.training.learning_curve import MORE
from annotriage.training.retraining import Training
from annotriage.training.side_by_side import NOT_WORSE


def write_training_page(training: Training, path: Path) -> None:
    """Write the report. Raises OutputError if it cannot be written."""
    course, comparison = training.course, training.comparison
    proposal, curve, brought = training.proposal, training.curve, training.strange
    rows = [] if proposal is None else [(row.share, row.el2n, row.random) for row in proposal.rows]
    pieces = template("training.html").generate(
        training=training,
        comparison=comparison,
        course=course,
        ids=training.examples.collected.ids,
        charts=charts,
        words=numbers,
        guarantee_sentence=guarantee_sentence(training.reference.guarantee),
        takeover=None
        if comparison is None
        else takeover_sentence(comparison.takes_over, comparison.old_classes, comparison.fresh, NOT_WORSE),
        compared=[]
        if comparison is None or comparison.all_items is None or comparison.fresh is None or comparison.old_classes is None
        else [
            comparison_sentence(comparison.all_items),
            comparison_sentence(comparison.fresh, "held-out items that nobody had looked at"),
            comparison_sentence(comparison.old_classes, "held-out items of the old classes"),
        ],
        visits=visits_sentence(
            course.visits, len(training.examples.collected.ids), course.epochs, training.plan.perplexity, course.below, course.above
        ),
        gain=None if curve is None else gain_sentence(curve.gain, curve.low, curve.high, MORE),
        further=0 if curve is None else curve.now + MORE,
        layers=layers_chart(drawn_layers(layer_graph(training.spec, training.reference.model.layers))),
        pruned=None if proposal is None else pruning_sentence(proposal.share, rows, proposal.whole),
        strange=None if brought is None else strange_sentence(brought.strange, brought.added, brought.compared, brought.random),
        **frame(bundle("elements.js", "theme_button.js", "theme_alone.js"), "layers.css"),
    )
    write_page(pieces, path)
