"""How fast triage is, what holds it up, and what to change, in sentences."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent

AS_IT_WAS = "These figures are of this machine as it was just now: measure again when other work runs on it."


def figure(number: float) -> str:
    """Two digits that count, three of a hundred and more: 61.34 -> "61", 3.14159 -> "3.1", 12345 -> "12,300"."""
    rounded = float(f"{number:.3g}" if number >= 100 else f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def rate(per_second: float) -> str:
    """Items per second: 61.3 -> "61 a second"."""
    return f"{figure(per_second)} a second"


def duration(seconds: float) -> str:
    """A time that need not be exact: 0.4 -> "0.4 s", 75 -> "75 s", 1234 -> "21 minutes", 90,000 -> "25 hours"."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.0f} hours"


def speed_sentence(items: int, dataset: str, per_second: float, seconds: float, once: float) -> str:
    """How fast the items passed, and what came once. once: seconds."""
    return f"{count(items, 'item')} of {dataset} in {duration(seconds)}: {rate(per_second)}. Then {duration(once)} once per dataset."


def project_speed_sentence(items: int, project: str, per_second: float, seconds: float) -> str:
    """How fast the service's own steps were with a project's tasks."""
    return f"{count(items, 'task')} of project {project} judged anew in {duration(seconds)}, and nothing kept: {rate(per_second)}."


def recorded_sentence(what: str, items: int, middle: float, most: float) -> str:
    """What the service has recorded. what: from when to when. middle, most: seconds, of half the items and of 95% of them."""
    return f"As recorded of the last {count(items, 'task')}, {what}: half of them within {duration(middle)}, 95% within {duration(most)}."


def limit_sentence(per_second: float, share: float, device: str, cores: int) -> str:
    """The limit, and how much of it is reached. per_second: of the model alone."""
    where = "the GPU" if device == "cuda" else f"the same {count(cores, 'core')}"
    return (
        f"The limit is the model alone, on {where}, with batches that lie ready and no hidden layer put out: {rate(per_second)}."
        f" Triage reaches {percent(share)} of it."
    )


def million_sentence(per_second: float) -> str:
    """What that means for much data."""
    return f"A million such items take about {duration(1e6 / per_second)}."


def holds_up_sentence(stage: str, share: float) -> str:
    """What the items wait for most. stage: the name of a stage, "model" among them. share: of the time of the items' pass."""
    what = {
        "model": "The model holds everything up: it runs",
        "decode": "Decoding holds everything up: the model waits for decoded items",
        "read": "Reading and fetching hold everything up: they take",
        "judge": "Judging holds everything up: it takes",
        "sample": "What is kept of the items for the report holds everything up: it takes",
        "write": "Writing holds everything up: it takes",
        "store": "The database holds everything up: storing verdicts takes",
    }[stage]
    return f"{what} {percent(share, 0)} of the time."


def batch_change(size: int, present: int, model: float, triage: float) -> str:
    """Another batch size. model, triage: how many times as fast they become."""
    return (
        f"batch_size = {size} in place of {present}: the model alone ran {model:.2f} times as fast with it, so triage should be about"
        f" {triage:.2f} times as fast."
    )


def judging_batch_change(size: int, present: int, least: float, most: float) -> str:
    """A batch size that judging likes. least, most: how many times as fast triage becomes."""
    return (
        f"batch_size = {size} in place of {present}: judging takes longest here, and costs two to three times less an item in large"
        f" batches; triage becomes {least:.1f} to {most:.1f} times as fast."
    )


def gpu_change(triage: float, missing: str) -> str:
    """A GPU, where the model runs on the CPU. triage: how many times as fast at most. missing: why none is used; "" if by the settings."""
    use = f"A GPU: {missing}" if missing else "device = cuda: a GPU is here, and is not used."
    return f"{use} Only the model gets faster by it, so triage becomes {triage:.1f} times as fast at most."


def threads_change(threads: int, cores: int, triage: float) -> str:
    """More threads that decode. triage: how many times as fast at most."""
    return (
        f"threads = {cores} in place of {threads}: as many pictures are decoded at once; triage becomes {triage:.2f} times as fast at most."
    )


def smaller_pictures_change(triage: float) -> str:
    """Where all cores decode already. triage: how many times as fast at most."""
    return (
        "All cores decode already. Smaller files help: pictures of about twice the model's size are decoded faster, and triage becomes"
        f" {triage:.2f} times as fast at most."
    )


def connections_change(connections: int, triage: float) -> str:
    """More files fetched at a time. triage: how many times as fast at most."""
    return (
        f"media_connections = {2 * connections} in place of {connections}: the time is spent waiting for files. As long as their server"
        f" keeps up, triage becomes {triage:.2f} times as fast at most."
    )


def disk_change(triage: float) -> str:
    """Where local files are waited for. triage: how many times as fast at most."""
    return (
        "No setting makes reading faster: the time is spent waiting for the disk or network drive that the data lie on. On a faster one"
        f" triage becomes {triage:.2f} times as fast at most."
    )


def unpacking_change(triage: float) -> str:
    """Where reading is work for one core. triage: how many times as fast at most."""
    return (
        "No setting makes reading faster: one core unpacks these data. An .npz saved without compression, or files in a folder, are read"
        f" faster; triage becomes {triage:.2f} times as fast at most."
    )


def workers_change(triage: float) -> str:
    """Where one core judges and writes while others idle. triage: how many times as fast at most."""
    return (
        f"annotriage triage --engine ray: judging and writing take one core here, several workers share them. Triage becomes {triage:.1f}"
        " times as fast at most."
    )


def map_change(seconds: float, share: float) -> str:
    """Leaving the map out. share: of the whole time."""
    return f"map = none: saves {duration(seconds)} once per dataset, {percent(share, 0)} of this run; the report then has no map."


def nothing_to_change() -> str:
    """Where no setting would help."""
    return "Nothing to change: no setting would make this much faster on this machine."


def unsteady_sentence(before: float, after: float) -> str:
    """Where the model alone was not as fast after as before. Both per second."""
    return (
        f"The model alone ran {rate(before)} before and {rate(after)} after: something else used this machine. Run this again when it is"
        " quiet."
    )


def small_sentence(items: int) -> str:
    """Too few items for steady figures."""
    return f"{count(items, 'item')} are few: a larger --items gives steadier figures."
