"""The demo: real handwritten digits, a model trained on the spot, and the product's main job on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from annotriage.progress import Progress
from annotriage.settings import Settings

DIGITS = "digits"  # where the demo's model and data lie, with a server or without


def run_offline(folder: Path, say: Callable[[str], None], progress: Progress, settings: Settings) -> Path:
    """Train, fit and triage in `folder`, saying what happens: returns the path of report.html.

    A second run fits and triages anew: it takes about a minute, most of it for the map.
    """
    from annotriage.demo.digits import write_digits
    from annotriage.engine.fitting import fit
    from annotriage.engine.reference import Reference
    from annotriage.report.output import REPORT, summary_text, triage_to_folder

    digits, folder = folder / DIGITS, folder / "offline"
    shutil.rmtree(folder, ignore_errors=True)
    say(f"1. Training a small network on scikit-learn's handwritten digits 0-7, as images in {digits}.")
    with progress("training the model", None):
        data = write_digits(digits)
    say(f"   {data.accuracy:.1%} right on held-out digits. Written as {data.spec} beside its ONNX file.")
    say("2. annotriage fit: what the training set looks like inside the model, calibrated on held-out digits.")
    reference = fit(data.spec, data.train, data.held_out, name="digits", settings=settings, progress=progress)
    reference.save(folder / "reference")
    say("3. annotriage triage: a stream of known digits, digits never seen in training (8, 9) and damaged scans, unlabelled.")
    result = triage_to_folder(Reference.load(folder / "reference"), data.incoming, folder / "results", progress=progress)
    say("")
    say(summary_text(result))
    report = folder / "results" / REPORT
    say("")
    say(f"Open the report in a browser: {report.resolve()}")
    say("The same by hand, and how the scores compare (the labels in incoming.csv tell what is foreign):")
    say(f"  annotriage triage --reference {folder / 'reference'} --data {data.incoming} --out my-results")
    say(f"  annotriage compare --reference {folder / 'reference'} --data {data.labelled_incoming} --compressions none,pca")
    return report
