"""Datasets through `open_dataset`: what is read, what is refused, and that a long one takes no more memory than a short one."""

import base64
import csv
import itertools
import os
import random
import tracemalloc
import unicodedata
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from annotriage.data import Item, Problem, image_folder, npz, open_dataset
from annotriage.data.local_paths import has_file
from annotriage.data.unique_ids import repeated_ids
from annotriage.errors import DataError, SettingError
from annotriage.states import Failure

SHARED_FOLDER = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def manifest(tmp_path, text, name="items.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return open_dataset(tmp_path / name)


def peak_memory(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# image folders


def test_sub_folders_are_labels_and_files_at_the_top_have_none(tmp_path):
    dataset = open_dataset(touch(tmp_path, "dog/2.PNG", "cat/deep/1.jpeg", "0.tif"))
    assert [(item.id, item.labels) for item in dataset] == [("0.tif", None), ("cat/deep/1.jpeg", ("cat",)), ("dog/2.PNG", ("dog",))]
    assert (dataset.name, dataset.count, next(iter(dataset)).media) == (tmp_path.name, 3, tmp_path / "0.tif")


def test_files_left_out_are_counted_in_the_notes(tmp_path):
    (note,) = open_dataset(touch(tmp_path, "a.png", "b.csv", "c.csv", "Thumbs.db", ".DS_Store", ".cache/d.png")).notes
    assert "5 entries" in note
    assert ".csv: 2" in note
    assert "hidden: 2" in note
    assert ".db: 1" in note


def test_every_other_file_is_an_item_whatever_its_ending(tmp_path):
    names = ["IMG_0001", "a.jfif", "b.jpe", "c.ppm", "d.avif", "e.HEIC", "f.png.part"]
    dataset = open_dataset(touch(tmp_path, *names))
    assert ([item.id for item in dataset], dataset.notes) == (names, ())


def test_a_folder_without_images_is_refused_with_what_was_found(tmp_path):
    with pytest.raises(DataError, match=r"no images in this folder; found only 1 entry \(\.txt: 1\).*class/name\.png"):
        open_dataset(touch(tmp_path, "notes.txt"))


def test_links_that_lead_back_end_the_walk(tmp_path):
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "b/self").symlink_to(tmp_path / "b")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    dataset = open_dataset(tmp_path)
    assert [item.id for item in dataset] == ["a/1.png", "a/b/2.png", "b/2.png"]
    assert "a link back to a folder above: 3" in dataset.notes[0]


def test_a_link_to_itself_is_one_broken_item(tmp_path):
    (touch(tmp_path, "1.png") / "loop").symlink_to(tmp_path / "loop")
    problems = {item.id: item.problem and item.problem.text for item in open_dataset(tmp_path)}
    assert problems["1.png"] is None
    assert "a broken link" in problems["loop"]


def test_what_is_no_file_becomes_a_problem(tmp_path):
    (touch(tmp_path, "1.png") / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    problems = {item.id: item.problem and item.problem.text for item in open_dataset(tmp_path)}
    assert problems["1.png"] is None
    assert "broken link" in problems["broken.png"]
    assert "not a file" in problems["pipe.png"]


def test_names_that_are_not_utf8_get_ids_that_can_be_written(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"picture")
    (item,) = open_dataset(tmp_path)
    assert item.id.encode("utf-8") == rb"caf\udce9.png"
    assert item.media.read_bytes() == b"picture"


def test_a_long_folder_is_read_in_order_a_few_names_at_a_time(tmp_path, monkeypatch):
    names = [f"{i}.png" for i in range(53)]
    touch(tmp_path, *names)
    monkeypatch.setattr(image_folder, "NAMES_HELD", 10)
    assert [item.id for item in open_dataset(tmp_path)] == sorted(names)


def test_a_big_folder_takes_little_memory(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{i:06}.png" for i in range(20_000)))
    monkeypatch.setattr(image_folder, "NAMES_HELD", 1000)
    tracemalloc.start()
    items = iter(open_dataset(tmp_path))
    assert sum(1 for _ in itertools.islice(items, 10_000)) == 10_000
    held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*pathlib*")])  # it interns names, in a table of Python's
    tracemalloc.stop()
    assert sum(trace.size for trace in held.traces) < 500_000  # all the names are 1.2 MB


# CSV manifests


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_is_read_whatever_its_delimiter_and_byte_order_mark(tmp_path, delimiter, encoding):
    text = "path,label,id,group\nfig/ä.png,cat|dog,one,p1\n/abs/b.png,,two,\n".replace(",", delimiter)
    first, second = manifest(tmp_path, text, encoding=encoding)
    assert first == Item("one", tmp_path / "fig/ä.png", ("cat", "dog"), "p1", str(tmp_path / "fig/ä.png"))
    assert (second.id, str(second.media), second.labels, second.group) == ("two", "/abs/b.png", None, None)


def test_a_separator_alone_means_that_no_class_applies(tmp_path):
    items = manifest(tmp_path, "path,label\na.png,|\nb.png,\nc.png, | \nd.png,cat|\n")
    assert [item.labels for item in items] == [(), None, (), ("cat",)]


def test_a_bar_within_a_name_is_escaped_or_known_from_the_class(tmp_path):
    rows = ["left|right", "left\\|right|none", "cafe\u0301|bar"]
    (tmp_path / "items.csv").write_text("path,label\n" + "".join(f"{row}.png,{row}\n" for row in rows), "utf-8")
    labels = [item.labels for item in open_dataset(tmp_path / "items.csv", classes=["left|right", "none", "caf\u00e9|bar"])]
    assert labels == [("left|right",), ("left|right", "none"), ("caf\u00e9|bar",)]


def test_bad_rows_become_problems_that_name_the_row(tmp_path):
    dataset = manifest(tmp_path, 'path,label\n"a\nb.png",cat\n,cat\nc.png\nd,e.png,cat\nhttps://x.org/f.png,cat\n\n,\ng.png,cat\n')
    items = list(dataset)
    assert dataset.count == len(items) == 6
    assert [item.problem and item.problem.text.removeprefix(f"{tmp_path}/items.csv: ")[:14] for item in items] == [
        None,
        "row 4: the col",
        "row 5: has 1 c",
        "row 6: has 3 c",
        "row 7: https:/",
        None,
    ]


def test_the_second_use_of_an_id_is_a_problem_that_names_the_first(tmp_path):
    items = list(manifest(tmp_path, "path,id\n1.png,a\n2.png,b\n3.png,a\n4.png,a\n"))
    assert [item.id for item in items] == ["a", "b", "a", "a"]
    assert items[0].problem is None
    found = f"{tmp_path}/items.csv: row 4: id 'a' was used in row 2 already; ids must be unique"
    assert items[2].problem == Problem(Failure.REPEATED, found)
    assert "row 5: id 'a' was used in row 2 already" in items[3].problem.text


def test_data_uris_are_decoded(tmp_path):
    picture = random.Random(0).randbytes(300_000)  # longer than the csv module's own limit of a field
    good, bad = manifest(tmp_path, f'path\n"data:image/png;base64,{base64.b64encode(picture).decode()}"\n"data:image/png;base64,%%%"\n')
    assert (good.id, good.media, good.path) == ("row-2", picture, "items.csv row 2")
    assert "row 3: a data: URI that is not valid base64" in bad.problem.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,label\na.png,cat\n", "names 'file', 'label'; it must name a column 'path'"),
        (b"", "names nothing; it must name a column 'path'"),
        (b"path,path\na.png,cat\n", "names 'path' more than once"),
        (b"path,label\n", "no rows below the header"),
        (b"path,label\ncaf\xe9.png,cat\n", "not UTF-8"),
        ("path,label\na.png,cat\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_the_reason(tmp_path, content, message):
    (tmp_path / "items.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "items.csv")


def test_columns_that_are_not_used_are_named(tmp_path):
    assert "'scanner'" in manifest(tmp_path, "path,scanner\na.png,x\n").notes[0]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(str.strip).filter(bool)


def test_paths_as_windows_and_browsers_write_them_are_understood(tmp_path):
    touch(tmp_path, "scans/a b.png", "odd\\name.png")
    address = (tmp_path / "scans/a b.png").as_uri()
    written = ["scans\\a b.png", "odd\\name.png", address, address.replace("file://", "file://localhost")]
    items = list(manifest(tmp_path, "path,id\n" + "".join(f"{path},{place}\n" for place, path in enumerate(written))))
    assert [item.problem for item in items] == [None] * 4
    assert [item.media for item in items] == [tmp_path / name for name in ("scans/a b.png", "odd\\name.png", *["scans/a b.png"] * 2)]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("C:\\scans\\a.png", "is a path on a Windows machine; write it relative to"),
        ("\\\\nas\\scans\\a.png", "is a path on a Windows machine"),
        ("file:///C:/scans/a.png", "is a path on a Windows machine"),
        ("file://nas/a.png", "names the machine nas; copy the file here"),
        ("file://", "names no file; write its whole path"),
        ("a\0.png", "the path holds a NUL character"),
    ],
)
def test_a_path_that_no_file_here_can_have_is_named_with_the_cause(tmp_path, path, problem):
    (item,) = manifest(tmp_path, f"path\n{path}\n")
    assert problem in item.problem.text


def test_a_path_longer_than_any_is_an_item_whose_file_is_not_there(tmp_path):
    (item,) = manifest(tmp_path, "path\n" + "scans\\" + "a" * 300 + ".png\n")
    assert item.problem is None  # who reads it says so
    assert not has_file(item.media)


def test_text_that_nothing_can_store_is_escaped_and_class_names_are_composed():
    item = Item("half \ud83d", None, ("cafe\u0301", 2), "a\0b", "\udce9.png", Problem(Failure.GONE, "no \ud83d"))
    assert item == Item(r"half \ud83d", None, ("caf\u00e9", 2), r"a\0b", r"\udce9.png", Problem(Failure.GONE, r"no \ud83d"))


@SHARED_FOLDER
@given(rows=st.dictionaries(text, st.tuples(text, text.filter(lambda label: "|" not in label)), min_size=1))
def test_odd_ids_and_labels_come_back_as_they_were_written(tmp_path, rows):
    with (tmp_path / "odd.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "path", "label"), *((id, f"./{path}", label) for id, (path, label) in rows.items())])
    dataset = open_dataset(tmp_path / "odd.csv")
    assert {item.id: (item.path, item.labels, item.problem) for item in dataset} == {
        id: (str(tmp_path / f"./{path}"), (unicodedata.normalize("NFC", label),), None) for id, (path, label) in rows.items()
    }
    assert dataset.count == len(rows)


def test_a_million_ids_are_compared_in_little_memory():
    found = []
    ids = ((row, f"a/rather/long/path/{row % 999_999}.png") for row in range(1_000_000))
    assert peak_memory(lambda: found.append(repeated_ids(ids))) < 40_000_000
    assert found == [(1_000_000, {999_999: 0})]


# arrays


numbers = st.sampled_from(["u1", "<f4", ">i4"]).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=4)))


@SHARED_FOLDER
@given(x=numbers, compressed=st.booleans(), transposed=st.booleans(), block=st.integers(1, 64))
def test_an_npz_read_in_blocks_equals_numpys_own_reading(tmp_path, x, compressed, transposed, block):
    x = np.asfortranarray(x) if transposed else x
    (np.savez_compressed if compressed else np.savez)(tmp_path / "n.npz", x=x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz, "BLOCK", block)
        items = list(open_dataset(tmp_path / "n.npz"))
    np.testing.assert_array_equal(np.stack([item.media for item in items]), np.load(tmp_path / "n.npz")["x"])
    assert [item.id for item in items] == [str(i) for i in range(len(x))]


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array(["cat", "", "Ä"]), [("cat",), None, ("Ä",)]),
        (np.array([b"cat", b"", b"dog"]), [("cat",), None, ("dog",)]),
        (np.array([3, -1, 0]), [(3,), None, (0,)]),
    ],
)
def test_y_gives_names_or_indices_or_nothing(tmp_path, y, labels):
    x = np.zeros((3, 4, 4), np.uint8)
    np.savez(tmp_path / "digits.npz", x=x, y=y, group=np.array([7, 7, 8]))
    items = list(open_dataset(tmp_path / "digits.npz"))
    assert [item.labels for item in items] == labels == [item.labels for item in open_dataset((x, y))]
    assert [(item.path, item.group) for item in items] == [("digits.npz[0]", "7"), ("digits.npz[1]", "7"), ("digits.npz[2]", "8")]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float32])
def test_a_column_per_class_gives_the_classes_that_apply(tmp_path, dtype):
    x, y = np.zeros((3, 4), np.float32), np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]], dtype)
    np.savez(tmp_path / "flags.npz", x=x, y=y)
    labels = [(1, 2), (), (0,)]
    assert [item.labels for item in open_dataset(tmp_path / "flags.npz")] == labels == [item.labels for item in open_dataset((x, y))]


def test_ids_of_an_npz_are_kept_and_must_be_unique(tmp_path):
    np.savez(tmp_path / "n.npz", x=np.zeros((3, 2)), id=np.array(["a", "b", "a"]))
    items = list(open_dataset(tmp_path / "n.npz"))
    assert [item.id for item in items] == ["a", "b", "a"]
    assert "row 2: id 'a' was used in row 0 already" in items[2].problem.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": np.zeros((2, 2))}, "holds 'images' but no 'x'"),
        ({"x": np.array([[1], [None]], object)}, "x holds Python objects.*never"),
        ({"x": np.zeros((2, 2)), "y": np.array(["a", None], object)}, "y holds Python objects"),
        ({"x": np.zeros((2, 2)), "y": np.array([1, 2, 3])}, "x has 2 items and y has 3"),
        ({"x": np.zeros((2, 2)), "y": np.array([0.5, 1.0])}, "it must be .N,. of class names or class indices"),
        ({"x": np.zeros((2, 2)), "y": np.array([[0, 1], [0, 2]])}, r"so it must hold 0 and 1, a column per class; row 1 is \[0 2\]"),
        ({"x": np.zeros((2, 2)), "y": np.array([[0], [1]])}, r"y has shape \(2, 1\)"),
        ({"x": np.zeros((2, 2)), "y": np.array([["a", "b"], ["a", ""]])}, r"y has shape \(2, 2\)"),
        ({"x": np.zeros(3)}, r"x has shape \(3,\)"),
        ({"x": np.array([["a"]])}, "x has shape"),
        ({"x": np.zeros((0, 4, 4), np.uint8)}, "holds nothing"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused_with_the_reason(tmp_path, content, message):
    np.savez(tmp_path / "n.npz", **content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "n.npz")


def test_a_damaged_npz_is_refused(tmp_path):
    file = tmp_path / "n.npz"
    np.savez(file, x=np.arange(1000.0).reshape(10, 100))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable"):
        open_dataset(file)
    file.write_bytes(whole[:500] + b"\xff" * 50 + whole[550:])
    with pytest.raises(DataError, match="not a readable"):
        list(open_dataset(file))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -3), }".ljust(117) + b"\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + header + bytes(48))
    with pytest.raises(DataError, match="x is damaged"):
        open_dataset(file)


def test_a_member_that_is_no_array_and_a_row_as_large_as_a_dataset_are_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "n.npz", "w") as archive:
        archive.writestr("x", b"numbers")
    with pytest.raises(DataError, match="its member 'x' is no array"):
        open_dataset(tmp_path / "n.npz")
    monkeypatch.setattr(npz, "LONGEST_ROW", 2**20)
    np.savez_compressed(tmp_path / "n.npz", x=np.zeros((1, 2**21), np.uint8))
    with pytest.raises(DataError, match=r"x has the shape \(1, 2097152\), whose every row is one item of 2 MB; the most .* is 1 MB"):
        open_dataset(tmp_path / "n.npz")


def test_an_array_that_has_to_be_read_whole_and_has_no_room_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "n.npz", x=np.asfortranarray(np.zeros((2, 3))))
    assert len(list(open_dataset(tmp_path / "n.npz"))) == 2
    monkeypatch.setattr(npz.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**4))
    with pytest.raises(DataError, match=r"x is stored column by column, .*save it again with .*ascontiguousarray"):
        list(open_dataset(tmp_path / "n.npz"))


def test_an_npz_is_read_in_flat_memory(tmp_path):
    np.savez_compressed(tmp_path / "big.npz", x=np.zeros((2000, 100, 100), np.uint8))
    assert peak_memory(lambda: sum(1 for _ in open_dataset(tmp_path / "big.npz"))) < 6_000_000


# everything else


def test_a_dataset_is_returned_as_it_is_and_can_be_read_again(tmp_path):
    dataset = open_dataset(touch(tmp_path, "1.png"), name="incoming")
    assert open_dataset(dataset) is dataset
    assert (dataset.name, list(dataset)) == ("incoming", list(dataset))


def test_items_are_a_dataset_and_an_iterator_of_them_is_read_once():
    items = [Item("a", b"1"), Item("b", b"2")]
    assert list(open_dataset(items)) == items
    dataset = open_dataset(iter(items))
    assert (dataset.count, list(dataset)) == (None, items)
    with pytest.raises(DataError, match="have been read; give a list"):
        list(dataset)
    with pytest.raises(DataError, match="a str among the items"):
        list(open_dataset(["a", "b"]))


@pytest.mark.parametrize("source", ["", " \t"])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, source):
    monkeypatch.chdir(touch(tmp_path, "1.png"))
    with pytest.raises(DataError, match=r"no dataset was named \(an empty path\)"):
        open_dataset(source)
    assert open_dataset(".").count == 1


@pytest.mark.parametrize("source", ["nowhere", "bad\0name", "x" * 5000])
def test_a_source_that_is_not_there_is_refused_with_what_is_understood(source):
    with pytest.raises(DataError, match=r"no such file or folder\. Understood are: a folder of images|not a path"):
        open_dataset(source)


def test_a_project_of_label_studio_needs_a_number_and_a_token(monkeypatch):
    monkeypatch.delenv("ANNOTRIAGE_LABEL_STUDIO_TOKEN", raising=False)
    with pytest.raises(DataError, match=r"label-studio:knees: name the project by its number, as label-studio:3"):
        open_dataset("label-studio:knees")
    with pytest.raises(SettingError, match=r"label_studio_token is empty: .* ANNOTRIAGE_LABEL_STUDIO_TOKEN"):
        open_dataset("label-studio:3")


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    (tmp_path / "scan.dcm").write_bytes(b"")
    with pytest.raises(DataError, match=r"not a kind of dataset .* column path; .*; an .npz file .*\(label-studio\)"):
        open_dataset(tmp_path / "scan.dcm")
    with pytest.raises(DataError, match="a int is not a dataset"):
        open_dataset(3)
