"""How a model is to be trained: every number that a training run can be given, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from annotriage.errors import SettingError

PERPLEXITIES = ("off", "kl", "gaussian", "gmm")


@dataclass(frozen=True)
class Plan:
    """A training run.

    whole: train the whole network (a torch factory) and not its head alone. Change it when the features themselves are not good enough
    and there are thousands of labelled items. epochs: passes at most. batch_size: lower it if memory is short. learning_rate: of Adam,
    falling to 0 over the epochs (cosine); None = 0.01 for a head and 0.001 for a whole network; lower it if training diverges.
    weight_decay: raise it when few items are trained on.
    perplexity: how the surprise of a sample is measured that decides whether it takes part in the next epoch, see `perplexity`.
    drop_below, drop_above: thresholds A and B in nats, None = chosen (A) or none (B). readmit: samples that are out come back before
    every epoch r + 1, 2 r + 1, ...; 0 = never.
    smoothing: e of the label smoothing (1 - e) * onehot + e / K; raise it where labels are noisy. mixup: a of Beta(a, a), 0 = off.
    """

    whole: bool = False
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float | None = None
    weight_decay: float = 1e-3
    perplexity: str = "off"
    drop_below: float | None = None
    drop_above: float | None = None
    readmit: int = 4
    smoothing: float = 0.0
    mixup: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise SettingError on a value that cannot work, naming the option."""
        _check("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _check("step_size", self.batch_size, self.batch_size >= 1, "at least 1")
        _check("learning_rate", self.learning_rate, self.learning_rate is None or self.learning_rate > 0, "above 0")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")
        _check("perplexity", self.perplexity, self.perplexity in PERPLEXITIES, f"one of {', '.join(PERPLEXITIES)}")
        _check("readmit", self.readmit, self.readmit >= 0, "0 (never) or more")
        _check("smoothing", self.smoothing, 0 <= self.smoothing < 1, "at least 0 and below 1")
        _check("mixup", self.mixup, self.mixup >= 0, "0 (off) or more")
        if self.perplexity == "off" and (self.drop_below is not None or self.drop_above is not None):
            raise SettingError("--drop-below and --drop-above need --perplexity kl, gaussian or gmm: without it nothing is left out")
        if self.drop_below is not None and self.drop_above is not None and self.drop_below >= self.drop_above:
            raise SettingError(
                f"--drop-below {self.drop_below:g} is not below --drop-above {self.drop_above:g}: all samples would be left out"
            )

    @property
    def rate(self) -> float:
        """The learning rate at the start."""
        return self.learning_rate or (1e-3 if self.whole else 1e-2)


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise SettingError(f"--{name.replace('_', '-')} {value}: must be {wanted}")
