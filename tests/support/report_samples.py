"""Reports as the pipeline would fill them, made from real digits: 0 to 7 are trained on, 8 and 9 arrive as strangers."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from PIL import Image
from scipy.stats import beta, fisher_exact
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from annotriage.advice.advice import Advice
from annotriage.engine.verdict import Verdict
from annotriage.guarantee.diversity import ClusterDiversity, Diversity
from annotriage.guarantee.gate import ClassEvidence, Guarantee
from annotriage.report.contents import Drawn, OutlierGroup, Report, Waiting
from annotriage.states import Failure

HOSTILE = "<script>alert('x')</script>\u202egnp.exe&\"" + "A" * 10_000
NAN = float("nan")


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 - np.clip(image, 0, 16) * 15)).save(file, "PNG")
    return file.getvalue()


def guarantee(labelled: int = 400, wrong_last: int = 6, auto: bool = True) -> Guarantee:
    n = np.arange(1, labelled + 1)
    errors = np.zeros(labelled, int)
    errors[-wrong_last * 8 :: 8] = 1
    errors = np.cumsum(errors)
    bound = beta.ppf(0.95, errors + 1, n - errors)
    chosen = int(np.flatnonzero(bound <= 0.02)[-1]) if auto else 0
    places = np.linspace(0, labelled - 1, min(200, labelled)).astype(int)
    classes = tuple(
        ClassEvidence(
            str(k),
            side,
            0.9 if side == "predicted" else NAN,
            160 + 9 * k,
            int(k == 3),
            float(beta.ppf(0.95, 1 + (k == 3), 160 + 9 * k)),
            0.8,
            k == 3,
        )
        for side in ("predicted", "true")
        for k in range(8)
    )
    return Guarantee(
        auto=auto,
        max_error=0.02,
        confidence=0.95,
        tested_confidence=0.95,
        attempt=1,
        max_error_per="all",
        tau=1.243 if auto else float("inf"),
        labelled=labelled,
        typical=int(labelled * 0.95),
        n=int(n[chosen]) if auto else 0,
        errors=int(errors[chosen]) if auto else 0,
        bound=float(bound[chosen]) if auto else NAN,
        coverage=float(n[chosen] / labelled) if auto else 0.0,
        needed=None if auto else 186,  # as references fitted by earlier versions hold it, not yet rounded
        classes=classes if auto else tuple(replace(row, n=0, errors=0, bound=1.0, share=0.0, above_limit=False) for row in classes),
        curve_coverage=n[places] / labelled,
        curve_risk=errors[places] / n[places],
        curve_bound=bound[places],
    )


def diversity(n: int, outliers: int, clusters: tuple[ClusterDiversity, ...] = (), failed: int = 0) -> Diversity:
    low, high = beta.ppf(0.025, outliers, n - outliers + 1), beta.ppf(0.975, outliers + 1, n - outliers)
    low, high = (0.0 if outliers == 0 else float(low)), (1.0 if outliers == n else float(high))
    share = outliers / n
    return Diversity(
        n, outliers, failed, share, low, high, 0.0499, 0.031, 0.073, share - 0.0499, share - 0.0899, share + 0.0001, 3e-9, n, False,
        400, 0.0002, 0.0131, 0.002, clusters, True,
    )  # fmt: skip


def advice() -> tuple[Advice, ...]:
    return (
        Advice("train", "Train further on these items?", "yes", "yes: they differ enough to teach the model something",
               "The excess of outliers is 24.6 points (20.6 to 29.6 points), above the threshold of 5 points.", ""),
        Advice("deploy", "Deploy the model where they come from?", "no", "no: accuracy is not to be expected there",
               "At least 20 in 100 items are unlike everything that the model was trained on.", ""),
        Advice("augmentation", "If they are augmented: is the augmentation useful?", "undecided", "Between useful and too strange",
               "The interval, 20.6 to 52.1 points, reaches over the upper threshold of 50 points.",
               "About 300 more incoming items; more held-out ones would not help."),
        Advice("annotate", "Label automatically?", "mixed", "automatic labels where the model is sure, the rest by people",
               "The guarantee holds; this dataset has not been checked yet (0 of 149 audited).", ""),
    )  # fmt: skip


def digits_report(train: int = 600, incoming: int = 500) -> Report:
    """A report on `incoming` digits, repeated with jitter where scikit-learn's 1,797 are too few."""
    rng = np.random.default_rng(7)
    x, y = load_digits(return_X_y=True)
    known, order = y < 8, rng.permutation(len(y))
    trained = np.resize(order[known[order]][:700], train)
    arriving = np.resize(
        np.concatenate([order[known[order]][700:], order[~known[order]][:180]])[rng.permutation(918)[: max(incoming, 3)]], incoming
    )
    chosen = np.concatenate([trained, arriving])
    model = LogisticRegression(max_iter=300).fit(x[trained[:700]], y[trained[:700]])
    flat = PCA(8, random_state=0).fit(x[trained])
    points = flat.transform(x[chosen])
    xy = (points[:, :2] + rng.normal(0, 0.6, (len(chosen), 2))).astype(np.float32)
    probabilities = model.predict_proba(x[chosen])
    label, confidence = probabilities.argmax(1), probabilities.max(1)
    centers = np.stack([points[:train][y[trained] == c].mean(0) for c in range(8)]) if train >= 200 else points[:1].repeat(8, 0)
    distances = np.linalg.norm(points[:, None] - centers, axis=2)
    cluster, score = distances.argmin(1), distances.min(1) + rng.normal(0, 0.5, len(chosen)) + np.where(known[chosen], 0, 7)
    held_out = np.sort(score[:train])
    p = (1 + train - np.searchsorted(held_out, score)) / (train + 1)
    route = np.where(p <= 0.05, "outlier", np.where(confidence < 0.9, "uncertain", "auto"))
    pictures = {int(k): png(x[k].reshape(8, 8)) for k in np.unique(chosen)}
    near = np.argsort(np.linalg.norm(points[train:, None] - points[None, : min(train, 600)], axis=2), axis=1)[:, :6]
    drawn = [
        Drawn(f"train-{k}", f"train/{y[i]}/{k}.png", "training", str(y[i]), cluster=str(y[i]), thumbnail=pictures[int(i)])
        for k, i in enumerate(trained)
    ]
    waiting = []
    for k, i in enumerate(arriving):
        at = train + k
        reason = {
            "outlier": f"Stranger than {100 * (1 - p[at]):.1f}% of the held-out items; nearest cluster {cluster[at]}.",
            "uncertain": f"Familiar, but the model is only {100 * confidence[at]:.0f}% sure of {label[at]}.",
            "auto": f"Familiar and sure: {label[at]} with {100 * confidence[at]:.0f}%.",
        }[route[at]]
        group = -1 if route[at] != "outlier" or known[i] else int(y[i] - 7)
        path = f"scanner-b/2026-11/{i:05d}.png"
        figures = (float(1 - p[at]), float(confidence[at]), float(p[at]), float(rng.uniform(0, 1)), float(score[at]))
        drawn.append(
            Drawn(
                f"item-{k:05d}",
                path,
                "incoming",
                str(label[at]),
                route[at],
                str(cluster[at]),
                *figures,
                reason,
                group,
                pictures[int(i)],
                tuple(int(n) for n in near[k]),
            )
        )
        if route[at] != "auto":
            outlier_score, confidence_at, p_value, trust, raw = figures
            verdict = Verdict(
                f"item-{k:05d}", path, (str(label[at]),), confidence_at, str(cluster[at]), raw, {"mahalanobis": 1.0}, p_value,
                outlier_score, trust, route[at], False, reason, "3fa2", "91bc", 0.002,
            )  # fmt: skip
            waiting.append(Waiting(verdict, pictures[int(i)], group))
    waiting.sort(key=lambda item: item.verdict.p_value)
    outliers = int((route[train:] == "outlier").sum())
    clusters = []
    for c in range(8):
        n = int((cluster[train:] == c).sum())
        k = int(((cluster[train:] == c) & (route[train:] == "outlier")).sum())
        if n:
            p_value = fisher_exact([[k, n - k], [3, 47]], "greater").pvalue
            low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
            high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
            clusters.append(ClusterDiversity(str(c), n, k, k / n, low, high, 50, 3, min(1.0, 8 * p_value), n / incoming - 0.125))
    groups = []
    for number in (1, 2):
        members = [point for point in drawn if point.group == number]
        if members:
            groups.append(
                OutlierGroup(
                    number,
                    len(members),
                    members[0].label,
                    members[0].id,
                    tuple(m.thumbnail for m in members[:9]),
                    tuple(m.id for m in members[:12]),
                )
            )
    counts = {name: int((route[train:] == name).sum()) for name in ("auto", "uncertain", "outlier")} | {"failed": 0}
    return Report(
        title="Scanner B, November",
        created=datetime(2026, 11, 22, 6, 20, tzinfo=UTC),
        dataset="scanner-b/2026-11",
        reference="digits 0 to 7",
        reference_version="3fa2c07d9b1e44a8",
        model="digits.onnx",
        score="combined",
        alpha=0.05,
        counts=counts,
        diversity=diversity(incoming, outliers, tuple(clusters)),
        advice=advice(),
        guarantee=guarantee(),
        groups=tuple(groups),
        map_xy=xy,
        map_method="Drawn by UMAP from both sets together; nearness means much, distances across the map mean little.",
        drawn=drawn,
        waiting=waiting,
        waiting_total=len(waiting),
        members={
            "mahalanobis": "distance to the nearest class, in directions of equal spread",
            "relative-mahalanobis": "the same, less the distance to all data",
        },
        notes=(
            f"The map shows a seeded sample of {train:,} training and {incoming:,} incoming items.",
            "Items are taken as unrelated: no groups were named.",
        ),
        timings={"reading": 1.2, "model": 4.8, "map": 6.1},
    )


def failed_verdict(name: str, failure: Failure, reason: str) -> Verdict:
    return Verdict(name, name, failure=failure, reason=reason, reference="3fa2", model="91bc")


def hostile_report() -> Report:
    report = digits_report(200, 60)
    first = report.waiting[0]
    verdict = replace(first.verdict, path=HOSTILE, labels=(HOSTILE,), reason=HOSTILE)
    drawn = [replace(point, path=HOSTILE, label=HOSTILE, reason=HOSTILE) if point.id == verdict.id else point for point in report.drawn]
    group = replace(report.groups[0], label=HOSTILE, medoid=HOSTILE, ids=(HOSTILE,), faces=(b"not a picture",))
    cluster = replace(report.diversity.clusters[0], name=HOSTILE)
    evidence = replace(report.guarantee.classes[0], name=HOSTILE)
    return replace(
        report, title="T" + HOSTILE, dataset=HOSTILE, reference=HOSTILE, model="bad-\udcff-name",
        waiting=[replace(first, verdict=verdict), *report.waiting[1:]],
        drawn=drawn, groups=(group,), diversity=replace(report.diversity, clusters=(cluster,)),
        guarantee=replace(report.guarantee, classes=(evidence,)), notes=(HOSTILE,),
    )  # fmt: skip


def failed_report() -> Report:
    """Three items, none readable, no calibration, no map."""
    scored = Diversity(
        0,
        0,
        3,
        NAN,
        0.0,
        1.0,
        *[NAN] * 7,
        0,
        False,
        0,
        None,
        None,
        None,
        (),
        False,
    )
    unknown = "The file is no picture: its first bytes are unknown."
    waiting = [Waiting(failed_verdict(f"broken-{k}.png", Failure.UNREADABLE, unknown)) for k in range(3)]
    return replace(
        digits_report(200, 60), diversity=scored, advice=(), groups=(), map_xy=None, drawn=(), waiting=waiting,
        waiting_total=3, counts={"failed": 3}, guarantee=uncalibrated(),
        map_method="It takes at least 4 scored items; mend the files and run triage again.",
    )  # fmt: skip


def uncalibrated() -> Guarantee:
    none = np.empty(0)
    return replace(guarantee(60, 1, auto=False), labelled=0, typical=0, curve_coverage=none, curve_risk=none, curve_bound=none, classes=())


def huge_report() -> Report:
    """100,000 items, of which 10,000 + 10,000 are drawn."""
    report = digits_report(10_000, 10_000)
    return replace(report, counts={"auto": 61_000, "uncertain": 9_000, "outlier": 29_990, "failed": 10}, waiting_total=39_000)
