"""Charts of a training run: who took part in which epoch, how the loss fell, what more labels would gain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from annotriage.advice.numbers import percent
from annotriage.report.svg import dot, frame, line, nice_upper, path, text, tick_label, ticks

SAMPLES = 40  # drawn one by one; of more, as many evenly from those that took part most to those that took part least
NAMES = 12  # epochs that are numbered


def participation_chart(took_part: NDArray[np.bool_], ids: Sequence[str]) -> Markup:
    """Epochs x samples, a diamond where a sample was trained on, as figures 5A and 5B of US 2020/0302273. took_part: (E, N)."""
    epochs, count = took_part.shape
    often = took_part.sum(axis=0)
    order = np.argsort(-often, kind="stable") if count > SAMPLES else np.arange(count)
    rows = order[np.linspace(0, count - 1, min(count, SAMPLES)).round().astype(int)]
    left, top, step = 150.0, 14.0, 13.0
    across = max(14.0, min(44.0, 760.0 / max(epochs, 1)))
    bottom = top + step * len(rows)

    def x(epoch: int) -> float:
        return left + across * (epoch + 0.5)

    parts = []
    numbered = max(1, math.ceil(epochs / NAMES))
    for epoch in range(epochs):
        parts.append(line(x(epoch), top, x(epoch), bottom, "c-grid"))
        if epoch % numbered == 0:
            parts.append(text(x(epoch), bottom + 18, str(epoch + 1), "c-tick"))
    for place, row in enumerate(rows):
        y = top + step * (place + 0.5)
        name = ids[int(row)]
        parts.append(text(left - 8, y + 4, name if len(name) <= 18 else f"…{name[-17:]}", "c-tick c-end"))
        parts += [_diamond(x(epoch), y, 4.5) for epoch in np.flatnonzero(took_part[:, row])]
    parts.append(text(left + across * epochs / 2, bottom + 40, "epoch", "c-tick"))
    what = f"{len(rows)} of {count:,} samples, from those trained on most to least" if count > SAMPLES else f"{count} samples"
    described = f"{what}; in {epochs} epochs a sample was trained on {often.mean():.1f} times on average ({often.min()} to {often.max()})."
    return frame("Who took part in which epoch", described, left + across * epochs + 24, bottom + 50, parts)


def share_chart(took_part: NDArray[np.bool_]) -> Markup:
    """Which share of all samples took part in each epoch, as bars. took_part: (E, N)."""
    shares = [float(share) for share in took_part.mean(axis=1)]
    left, right, top, bottom = 58.0, 760.0, 14.0, 150.0
    across = (right - left) / max(len(shares), 1)
    parts = [line(left, _y(tick, top, bottom), right, _y(tick, top, bottom), "c-grid") for tick in (0, 0.5, 1)]
    parts += [text(left - 10, _y(tick, top, bottom) + 4, tick_label(tick), "c-tick c-end") for tick in (0, 0.5, 1)]
    numbered = max(1, math.ceil(len(shares) / NAMES))
    for epoch, share in enumerate(shares):
        y = _y(share, top, bottom)
        place = f'x="{left + across * (epoch + 0.15):.1f}" y="{y:.1f}" width="{0.7 * across:.1f}" height="{bottom - y:.1f}"'
        parts.append(Markup(f'<rect class="c-auto" {place}/>'))  # numbers alone
        if epoch % numbered == 0:
            parts.append(text(left + across * (epoch + 0.5), bottom + 18, str(epoch + 1), "c-tick"))
    parts.append(text((left + right) / 2, bottom + 40, "epoch", "c-tick"))
    described = ", ".join(f"epoch {epoch}: {percent(share, 0)}" for epoch, share in enumerate(shares, start=1))
    return frame("Share of the samples that took part", described, right + 24, bottom + 50, parts)


def loss_chart(losses: Sequence[float]) -> Markup:
    """The mean loss of the samples seen, epoch by epoch; NaN where none was."""
    known = {epoch: float(loss) for epoch, loss in enumerate(losses) if math.isfinite(loss)}
    left, right, top, bottom = 58.0, 760.0, 14.0, 200.0
    upper = max(max(known.values(), default=1.0) * 1.1, 1e-6)
    last = max(len(losses) - 1, 1)

    def x(epoch: float) -> float:
        return left + 10 + (right - left - 20) * epoch / last

    def y(loss: float) -> float:
        return bottom - (bottom - top) * loss / upper

    marks = [upper * part / 4 for part in range(5)]
    parts = [line(left, y(mark), right, y(mark), "c-grid") + text(left - 10, y(mark) + 4, f"{mark:.2g}", "c-tick c-end") for mark in marks]
    numbered = max(1, math.ceil(len(losses) / NAMES))
    parts += [text(x(epoch), bottom + 20, str(epoch + 1), "c-tick") for epoch in range(0, len(losses), numbered)]
    parts.append(path(list(known.items()), x, y, "c-risk"))
    parts += [dot(x(epoch), y(loss), 4, "c-outlier") for epoch, loss in known.items()]
    parts.append(text((left + right) / 2, bottom + 42, "epoch", "c-tick"))
    measured = list(known.values())
    described = f"{measured[0]:.3g} in the first epoch, {measured[-1]:.3g} in the last." if measured else "No epoch was run."
    return frame("Loss", described, right + 24, bottom + 50, parts)


def right_chart(shares: Sequence[float]) -> Markup:
    """The share of the samples seen that were right, epoch by epoch; NaN where none was seen."""
    known = {epoch: float(share) for epoch, share in enumerate(shares) if math.isfinite(share)}
    left, right, top, bottom = 58.0, 760.0, 14.0, 200.0
    last = max(len(shares) - 1, 1)

    def x(epoch: float) -> float:
        return left + 10 + (right - left - 20) * epoch / last

    def y(share: float) -> float:
        return _y(share, top, bottom)

    marks = (0, 0.25, 0.5, 0.75, 1)
    parts = [
        line(left, y(mark), right, y(mark), "c-grid") + text(left - 10, y(mark) + 4, tick_label(mark), "c-tick c-end") for mark in marks
    ]
    numbered = max(1, math.ceil(len(shares) / NAMES))
    parts += [text(x(epoch), bottom + 20, str(epoch + 1), "c-tick") for epoch in range(0, len(shares), numbered)]
    parts.append(path(list(known.items()), x, y, "c-risk"))
    parts += [dot(x(epoch), y(share), 4, "c-auto") for epoch, share in known.items()]
    parts.append(text((left + right) / 2, bottom + 42, "epoch", "c-tick"))
    measured = list(known.values())
    described = f"{percent(measured[0])} in the first epoch, {percent(measured[-1])} in the last." if measured else "No epoch was run."
    return frame("Right on the samples seen", described, right + 24, bottom + 50, parts)


def learning_curve_chart(sizes: Sequence[float], errors: Sequence[float], a: float, b: float, c: float, further: float) -> Markup:
    """Measured errors against training items, and the curve a m^b + c through them up to `further` items."""
    left, right, top, bottom = 62.0, 760.0, 14.0, 220.0
    upper = nice_upper(max(errors))
    low, high = math.log(sizes[0]), math.log(further)

    def x(size: float) -> float:
        return left + 10 + (right - left - 20) * (math.log(size) - low) / max(high - low, 1e-9)

    def y(error: float) -> float:
        return bottom - (bottom - top) * min(error / upper, 1.0)

    parts = [
        line(left, y(tick), right, y(tick), "c-grid") + text(left - 10, y(tick) + 4, tick_label(tick), "c-tick c-end")
        for tick in ticks(upper)
    ]
    parts += [text(x(size), bottom + 20, f"{int(size):,}", "c-tick") for size in sizes]
    along = [math.exp(low + (high - low) * part / 60) for part in range(61)]
    parts.append(path([(size, a * size**b + c) for size in along], x, y, "c-risk"))
    parts += [dot(x(size), y(error), 5, "c-outlier") for size, error in zip(sizes, errors, strict=True)]
    parts.append(text((left + right) / 2, bottom + 42, "training items", "c-tick"))
    described = f"error = {a:.3g} m^{b:.2f} + {c:.3g}; {percent(errors[-1])} wrong with {int(sizes[-1]):,} training items."
    return frame("Error against the number of training items", described, right + 24, bottom + 50, parts)


def _diamond(x: float, y: float, size: float) -> Markup:
    places = f"M{x:.1f} {y - size:.1f} L{x + size:.1f} {y:.1f} L{x:.1f} {y + size:.1f} L{x - size:.1f} {y:.1f} Z"
    return Markup(f'<path class="c-auto" d="{places}"/>')  # numbers alone


def _y(share: float, top: float, bottom: float) -> float:
    return bottom - (bottom - top) * share
