"""References: saved whole or not at all, loaded only if they are what they were, used only with their model."""

import errno
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from annotriage import triage
from annotriage.engine.fitting import fit
from annotriage.engine.parts import MOST
from annotriage.engine.reference import Judged, Reference
from annotriage.errors import MismatchError, OutputError
from annotriage.latent.products import rounds_alike
from annotriage.model import Outputs, load_model
from annotriage.model.spec import ModelSpec


@pytest.fixture
def saved(digits_reference, tmp_path):
    digits_reference.save(tmp_path / "reference")
    return tmp_path / "reference"


def figures(reference, data):
    return [(v.id, v.labels, v.score, v.p_value, v.trust, v.route, v.reason) for v in triage(reference, data).verdicts]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"score": "mean-sigma", "threshold": "mean-sigma"},
        {"score": "vim"},
        {"score": "knn", "compression": "none"},
        {"max_error_per": "class"},
    ],
    ids=str,
)
def test_a_loaded_reference_judges_as_the_saved_one(digits_model, digits, mixed, quick, tmp_path, changed):
    reference = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, **changed))
    reference.save(tmp_path / "reference")
    loaded = Reference.load(tmp_path / "reference")
    assert loaded.version == reference.version
    assert figures(loaded, mixed[0]) == figures(reference, mixed[0])


@pytest.mark.parametrize("compression", ["umap", "tsne"])
def test_deciding_in_a_drawn_map_is_repeatable_and_can_be_stored(digits_model, digits, quick, tmp_path, compression):
    train, held_out, incoming = (
        tuple(part[:count] for part in data) for data, count in ((digits.train, 150), (digits.held_out, 40), (digits.incoming, 30))
    )
    settings = replace(quick, score="combined", members=("knn", "mean-sigma"), compression=compression)
    reference = fit(digits_model, train, held_out, settings=settings)
    reference.save(tmp_path / "reference")
    judged = figures(reference, incoming[0])
    assert figures(Reference.load(tmp_path / "reference"), incoming[0]) == judged
    assert figures(reference, incoming[0]) == judged


def repeated(reference, data, count):
    """What the model makes of some items, again and again, `count` in all."""
    outputs = reference.open_model().run(data[:, None].astype(np.float32) / 255)
    rows = np.arange(count) % len(data)
    return Outputs(outputs.logits[rows], tuple(layer[rows] for layer in outputs.activations))


def the_same(judged, others):
    assert judged.labels == others.labels
    for name, column in vars(judged).items():
        assert np.array_equal(column, getattr(others, name), equal_nan=name in ("p_value", "surprise")), name


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing_about_a_judgement(digits_reference, digits, threads):
    outputs = repeated(digits_reference, digits.incoming[0], 3 * MOST + 1)
    the_same(digits_reference.judge(outputs), digits_reference.judge(outputs, threads))


@pytest.mark.parametrize("compression", ["umap", "tsne"])
def test_threads_change_nothing_where_items_are_placed_together(digits_model, digits, quick, compression):
    train, held_out = (tuple(part[:count] for part in data) for data, count in ((digits.train, 150), (digits.held_out, 40)))
    reference = fit(digits_model, train, held_out, settings=replace(quick, score="knn", compression=compression))
    outputs = repeated(reference, digits.incoming[0], MOST + 1)
    judged = reference.judge(outputs)
    the_same(judged, reference.judge(outputs, 2))
    assert np.array_equal(judged.score, reference.detector.measure(outputs.activations, outputs.logits).score)


@pytest.mark.skipif(not rounds_alike(), reason="on this processor the digits of a product depend on a row's place")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_judgement_is_the_same_however_many_items_it_is_made_of(digits_reference, digits, threads):
    outputs = repeated(digits_reference, digits.incoming[0], 2 * MOST + 100)
    few = [digits_reference.judge(outputs.rows(slice(start, start + 40))) for start in range(0, len(outputs.logits), 40)]
    the_same(digits_reference.judge(outputs, threads), Judged.joined(few))


def test_a_moved_reference_finds_its_model(saved, digits_model, digits, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(digits_model.parent, tmp_path / "models" / digits_model.parent.name)
    reference = replace(Reference.load(saved), spec_path=tmp_path / "models" / digits_model.parent.name / "model.toml")
    reference.save(tmp_path / "models" / "reference")
    shutil.move(tmp_path / "models", tmp_path / "elsewhere")
    assert triage(Reference.load(tmp_path / "elsewhere/models/reference"), digits.incoming).counts["auto"]


def test_a_model_that_is_gone_says_how_to_name_its_place(saved, digits, tmp_path):
    reference = replace(Reference.load(saved), spec_path=tmp_path / "gone.toml")
    with pytest.raises(MismatchError, match=r"gone\.toml is not there any more; name the place with --model"):
        triage(reference, digits.incoming)


# damage


def test_damaged_arrays_are_refused(saved):
    content = bytearray((saved / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "arrays.npz").write_bytes(content)
    with pytest.raises(MismatchError, match=r"reference: arrays\.npz is damaged or from another reference .* copy it again"):
        Reference.load(saved)


def edited(head, *path, value):
    for key in path[:-1]:
        head = head[key]
    head[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tree", "settings", "alpha"), 0.1),
        (("tree", "settings", "alpha"), 7),
        (("tree", "guarantee", "auto"), False),
        (("tree", "threshold"), "high"),
        (("tree", "counts"), {"$map": []}),
        (("tree", "detector"), None),
        (("tree", "$class"), "LabelSpace"),
        (("tree", "detector", "$class"), "Popen"),
        (("tree",), None),
        (("version",), "1"),
        (("model_spec",), 3),
    ],
    ids=str,
)
def test_an_edited_description_is_refused(saved, path, value):
    head = json.loads((saved / "reference.json").read_text())
    edited(head, *path, value=value)
    (saved / "reference.json").write_text(json.dumps(head))
    with pytest.raises(MismatchError, match=r"reference: reference\.json was changed"):
        Reference.load(saved)


DEEP = [f'{{"format": {form}, "tree": {"[" * depth}{"]" * depth}}}' for form in (4, "null") for depth in (300, 900)]


@pytest.mark.parametrize("content", ["", "[]", '"text"', "[1]", "{", "3", "[" * 3000, *DEEP], ids=lambda content: content[:30])
def test_a_folder_without_a_readable_description_is_no_reference(saved, content):
    (saved / "reference.json").write_text(content)
    for read in (Reference.load, Reference.held_out_in):
        with pytest.raises(MismatchError, match="reference"):
            read(saved)


def test_a_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(MismatchError, match=r"nowhere: no reference can be read there .* make one with annotriage fit"):
        Reference.load(tmp_path / "nowhere")


def test_another_format_is_refused_with_the_command_that_renews_it(saved, digits_model):
    head = json.loads((saved / "reference.json").read_text())
    (saved / "reference.json").write_text(json.dumps(head | {"format": 99}))
    with pytest.raises(MismatchError, match="written in format 99, this version reads 4") as refused:
        Reference.load(saved)
    assert f"annotriage fit --model {digits_model}" in str(refused.value)
    assert str(refused.value).endswith(f"--out {saved} --replace")


def test_what_held_out_items_were_asked_is_read_from_another_format(saved, digits_reference):
    head = json.loads((saved / "reference.json").read_text())
    (saved / "reference.json").write_text(json.dumps(head | {"format": 3}))
    held_out = Reference.held_out_in(saved)
    assert held_out.attempts == 1
    assert np.array_equal(held_out.hashes, digits_reference.held_out.hashes)


# another model


@pytest.fixture
def copied(digits_model, tmp_path):
    """A copy of the model, to be changed."""
    return shutil.copytree(digits_model.parent, tmp_path / "copy") / "model.toml"


def test_the_same_model_elsewhere_is_taken(digits_reference, copied, digits):
    assert triage(digits_reference, digits.incoming, model=copied).counts == triage(digits_reference, digits.incoming).counts


def test_a_model_can_be_named_in_every_way(digits_reference, copied, digits):
    spec = ModelSpec.load(copied)
    counts = [triage(digits_reference, digits.incoming, model=model).counts for model in (copied, str(copied), spec, load_model(spec))]
    assert all(count == counts[0] for count in counts)


def test_other_weights_are_refused_with_both_hashes(digits_reference, copied, digits):
    model = onnx.load(copied.parent / "model.onnx")
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, copied.parent / "model.onnx")
    other = load_model(ModelSpec.load(copied)).hash[:12]
    with pytest.raises(
        MismatchError, match=rf"hash {digits_reference.model.hash[:12]}\), but model.toml has other weights \(hash {other}\)"
    ):
        triage(digits_reference, digits.incoming, model=copied)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('layer = "hidden0"\n[input]', "was fitted on layer hidden1, hidden0, but model.toml names hidden0"),
        ("[input]\nscale = 0.5", "model.toml has changed since it was fitted with model.toml: input.scale was 0.0039"),
    ],
)
def test_another_layer_or_spec_is_refused_naming_the_change(digits_reference, copied, digits, key, message):
    copied.write_text(copied.read_text().replace("[input]", key))
    with pytest.raises(MismatchError, match=message):
        triage(digits_reference, digits.incoming, model=copied)


# saving


def test_an_existing_folder_is_left_alone(digits_reference, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"mine: exists already; choose another folder for the reference, or pass --replace"):
        digits_reference.save(tmp_path / "mine")
    with pytest.raises(OutputError, match="mine: holds no reference, and nothing else is ever replaced"):
        digits_reference.save(tmp_path / "mine", replace_existing=True)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_a_reference_is_replaced_when_asked_to(saved, digits_reference):
    other = replace(digits_reference, name="other")
    replace(other, version=other.content_hash()).save(saved, replace_existing=True)
    assert Reference.load(saved).name == "other"


def test_the_working_directory_can_be_the_folder(digits_reference, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    digits_reference.save(".")
    assert Reference.load(tmp_path / "here").version == digits_reference.version


def test_a_full_disk_leaves_nothing_half_written(digits_reference, tmp_path, disk_of):
    full = pytest.raises(OutputError, match=r"reference: the reference could not be written \(File too large\); free some space")
    with disk_of(20_000), full:
        digits_reference.save(tmp_path / "reference")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_whatever_stops_saving_leaves_the_old_reference(saved, digits_reference, monkeypatch, stop):
    def stopped(*args, **kwargs):
        raise stop

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        digits_reference.save(saved, replace_existing=True)
    monkeypatch.undo()
    assert Reference.load(saved).version == digits_reference.version
    assert [path.name for path in saved.parent.iterdir()] == ["reference"]


def test_a_model_may_use_as_many_cores_as_it_is_told(digits_reference):
    """Workers on Ray share a machine's cores out among themselves."""
    assert [digits_reference.open_model(threads=threads).lanes for threads in (1, 3)] == [1, 3]
