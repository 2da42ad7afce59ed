"""The words that people meet on pages and in reports, each explained in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """A word and what it means. also: other words that lead here."""

    name: str
    meaning: str
    also: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Where it stands on the glossary's page."""
        return self.name.replace(" ", "-")


GLOSSARY = (
    Term(
        "advice",
        "Four questions about a dataset, answered from its figures: train on it, deploy there, keep an augmentation, label it by machine?",
    ),
    Term(
        "alarm",
        "It watches the answers on spot checks and stops automatic labels when too many are wrong. Right answers never raise it."
        " A false alarm comes once in 6,000 answers on average.",
    ),
    Term("automatic", "The item is familiar and the model is sure enough: it gets the model's label."),
    Term("blind", "Answered without seeing what the model says, so that the answer is a person's own."),
    Term(
        "cluster",
        "The training items of one class, as the model sees them. Every item is nearest to one of them.",
        ("nearest cluster",),
    ),
    Term(
        "dataset", "A named set of items: everything in a project, one import, one scanner, or any value of a data field that you choose."
    ),
    Term(
        "diversity score",
        "The share of strange items in a dataset. It says how far the data has drifted from the training set: 5% is normal by design, more"
        " is new.",
        ("drift",),
    ),
    Term(
        "excess",
        "How much larger the share of strange items is than normal data would show, in points: 25% where 5% is normal is 20 points.",
    ),
    Term("finding", "A label that people gave and that looks wrong. A person decides whether it is."),
    Term(
        "unusual look",
        "How unlike the training items an item looks to the model, whatever its class. Another scanner, light or camera looks so, and so"
        " does a shape that they do not have.",
        ("source axis", "from another source"),
    ),
    Term(
        "gold task",
        "A task whose answer is known, asked once more. It cannot be told from a spot check, and shows how often people are wrong.",
        ("known answer",),
    ),
    Term("group", "Strange items that look alike. Often a new class, or a source that broke."),
    Term(
        "guarantee",
        "At most so many automatic labels are wrong in the long run, for items like the held-out ones; or, where errors cost unlike"
        " amounts, an automatic label costs at most so much on average. It is shown on labelled items that"
        " the model was not trained on, and watched by spot checks.",
        ("error limit", "limit"),
    ),
    Term("held-out item", "A labelled item that the model was not trained on. Thresholds and the guarantee rest on them."),
    Term(
        "how sure",
        "One number of how confident the model is and how familiar the item looks. Above a threshold its label is automatic.",
        ("sureness",),
    ),
    Term("item", "One piece of data to be labelled. In the labeling tool it is a task."),
    Term("label audit", "A search for labels that people gave and that look wrong. It changes nothing."),
    Term(
        "like no class", "The item shows something that resembles no class the model knows: perhaps a new kind of thing.", ("class axis",)
    ),
    Term(
        "likely range",
        "Where the true figure lies with 95% confidence. A range that is valid at any time stays so however often you look.",
        ("interval",),
    ),
    Term(
        "outlier score",
        "How strange an item is: the share of held-out items that are less strange. At 99.8% hardly any normal item looks like it.",
    ),
    Term("p-value", "How often normal data would look this unusual by chance: 0.01 is once in 100 times."),
    Term("probation", "All first automatic labels of a new dataset are checked, until its error is shown to be low."),
    Term("queue", "What waits for people, the strangest first."),
    Term("recalibration", "The guarantee is made again from blind answers on items of today."),
    Term(
        "reference",
        "What annotriage knows of the model: its training set in compressed form, thresholds and the guarantee."
        " A new one makes a new version.",
    ),
    Term("review", "A person's answer on an item."),
    Term(
        "spot check",
        "An item drawn at random that people answer blind. Some are drawn from all items, for a new guarantee; others from automatic"
        " labels, to see how many are wrong. The model’s answer stays hidden until people have answered.",
        ("sample", "audit"),
    ),
    Term("strange", "Unlike the training data: a person labels it, without the model's label in view.", ("outlier", "foreign")),
    Term("trust", "The one number by which the labeling tool sorts tasks: low comes first."),
    Term("unreadable", "The item could not be read or scored. The reason says why."),
    Term("version", "A model with its reference. A recalibration, other limits or a training makes another one."),
    Term("unsure", "The item is familiar, but the model is not sure enough. A person decides and sees the model's label."),
)
_BY_NAME = {name: term for term in GLOSSARY for name in (term.name, *term.also)}


def term_of(word: str) -> Term:
    """The entry that a word leads to. Raises KeyError: whoever uses a word that must be learned explains it."""
    return _BY_NAME[word]
