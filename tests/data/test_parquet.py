"""Parquet manifests through `open_dataset`: what is read of them, and that a bad part or row leaves the others alone."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from parquet_files import picture, write

from annotriage.data import open_dataset
from annotriage.errors import DataError
from annotriage.states import Failure


def test_paths_are_files_beside_the_manifest(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    file = write(tmp_path / "items.parquet", path=["a.png", "", "sub/b.png"], label=["cat", None, "dog"], group=["p1", "p1", ""])
    dataset = open_dataset(file)
    assert (dataset.name, dataset.count) == ("items", 3)
    first, empty, last = dataset
    assert (first.id, first.media, first.labels, first.group) == ("a.png", tmp_path / "a.png", ("cat",), "p1")
    assert (empty.id, empty.labels, empty.problem.failure) == ("items.parquet:1", None, Failure.ADDRESS)
    assert "row 1: the column 'path' is empty" in empty.problem.text
    assert (last.media, last.labels, last.group) == (tmp_path / "sub/b.png", ("dog",), None)


def test_pictures_lie_in_the_rows_by_themselves_or_as_hugging_face_writes_them(tmp_path):
    plain = write(tmp_path / "plain.parquet", image=[picture(1), b"", None], label=[3, -1, None])
    assert [(item.id, item.media, item.labels) for item in open_dataset(plain)] == [
        ("plain.parquet:0", picture(1), (3,)),
        ("plain.parquet:1", None, None),
        ("plain.parquet:2", None, None),
    ]
    pairs = [{"bytes": picture(2), "path": "x.png"}, {"bytes": None, "path": "y.png"}]
    read = list(open_dataset(write(tmp_path / "pairs.parquet", image=pairs)))
    assert read[0].media == picture(2)
    assert read[1].problem.failure == Failure.UNREADABLE


def test_numbers_are_rows_or_pictures(tmp_path):
    rows = list(open_dataset(write(tmp_path / "rows.parquet", x=[[1.5, 2.0], [0.0, 4.0]], label=[["a", "b"], []])))
    assert [item.media.dtype for item in rows] == [np.float32] * 2
    assert rows[0].media.tolist() == [1.5, 2.0]
    assert [item.labels for item in rows] == [("a", "b"), ()]
    (pixels,) = open_dataset(write(tmp_path / "pixels.parquet", x=[[[0, 255], [7, 8]]]))
    assert (pixels.media.dtype, pixels.media.shape) == (np.uint8, (2, 2))
    short = list(open_dataset(write(tmp_path / "short.parquet", x=[[[1, 2], [3]], [[1, 2], [3, 4]]])))
    assert short[0].problem.failure == Failure.UNREADABLE
    assert short[1].media.tolist() == [[1, 2], [3, 4]]


def test_a_folder_of_parts_is_one_dataset_and_any_piece_of_it_can_be_read(tmp_path):
    for part, start in enumerate((0, 10, 15)):
        write(tmp_path / "lake" / f"part-{part}.parquet", 4, x=[[float(row)] for row in range(start, [10, 15, 22][part])])
    (tmp_path / "lake" / "_SUCCESS").touch()
    dataset = open_dataset(tmp_path / "lake")
    assert (dataset.name, dataset.count) == ("lake", 22)
    whole = [(item.id, item.media.tolist()) for item in dataset]
    assert [values for _, values in whole] == [[float(row)] for row in range(22)]
    assert len({id for id, _ in whole}) == 22
    for start, stop in ((0, 22), (3, 5), (8, 17), (21, 22), (10, 10)):
        assert [(item.id, item.media.tolist()) for item in dataset.part(start, stop)] == whole[start:stop]


def test_an_id_used_twice_fails_where_it_stands_again_whichever_piece_is_read(tmp_path):
    write(tmp_path / "lake/a.parquet", x=[[1.0], [2.0]], id=["one", "two"])
    write(tmp_path / "lake/b.parquet", x=[[3.0], [4.0]], id=["one", "four"])
    dataset = open_dataset(tmp_path / "lake")
    for items in (list(dataset)[2:], list(dataset.part(2, 4))):
        assert [item.problem and item.problem.failure for item in items] == [Failure.REPEATED, None]
    assert "id 'one' was used in row 0 already" in list(dataset)[2].problem.text


def test_a_corrupt_part_and_one_with_other_columns_are_named_and_the_rest_is_read(tmp_path):
    lake = tmp_path / "lake"
    write(lake / "a.parquet", x=[[1.0]], label=["cat"])
    whole = write(lake / "b.parquet", x=[[2.0]], label=["cat"]).read_bytes()
    (lake / "b.parquet").write_bytes(whole[: len(whole) // 2])
    write(lake / "c.parquet", x=[[3.0]], label=[7])
    write(lake / "d.parquet", x=[[4.0]])
    write(lake / "e.parquet", x=[[5.0], [6.0]], label=["dog", "cat"])
    dataset = open_dataset(lake)
    items = list(dataset)
    assert dataset.count == len(items) == 6
    good = [item for item in items if item.problem is None]
    assert [item.media.tolist() for item in good] == [[1.0], [5.0], [6.0]]
    bad = {item.id: item.problem.text for item in items if item.problem}
    assert "cannot be read as Parquet" in bad[str(lake / "b.parquet")]
    assert "of type int64, in the parts before of string" in bad[str(lake / "c.parquet")]
    assert "lacks the column 'label'" in bad[str(lake / "d.parquet")]
    assert all(any(text in note for note in dataset.notes) for text in bad.values())


def test_a_part_that_is_damaged_inside_gives_every_row_it_has(tmp_path):
    file = write(tmp_path / "items.parquet", 100, x=np.random.default_rng(0).random((400, 8)).tolist())
    column = pyarrow.parquet.read_metadata(file).row_group(2).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(file.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    file.write_bytes(bytes(content))
    items = list(open_dataset(file))
    assert len(items) == 400
    assert [row for row, item in enumerate(items) if item.problem] == list(range(200, 300))
    broken = [item.problem for item in items if item.problem]
    assert {problem.failure for problem in broken} == {Failure.UNREADABLE}
    assert f"{file}: damaged in rows" in broken[0].text


def test_what_cannot_be_a_dataset_is_refused_with_what_is_wanted(tmp_path):
    with pytest.raises(DataError, match=r"has the columns 'url'; one must be 'path' .*, 'image' .* or 'x'"):
        open_dataset(write(tmp_path / "a.parquet", url=["x"]))
    with pytest.raises(DataError, match="no rows"):
        open_dataset(write(tmp_path / "b.parquet", path=pyarrow.array([], pyarrow.string())))
    (tmp_path / "c.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_dataset(tmp_path / "c.parquet")


def test_columns_that_nobody_reads_are_noted(tmp_path):
    (note,) = open_dataset(write(tmp_path / "a.parquet", x=[[1.0]], site=["A"])).notes
    assert "not used: 'site'" in note


def test_paths_that_are_no_text_are_refused_and_whole_floats_are_classes(tmp_path):
    with pytest.raises(DataError, match="its column 'path' is of type int64; it must be text"):
        open_dataset(write(tmp_path / "a.parquet", path=[1, 2]))
    labels = [item.labels for item in open_dataset(write(tmp_path / "b.parquet", x=[[1.0]] * 3, label=[1.0, None, -1.0]))]
    assert labels == [(1,), None, None]


def test_pieces_of_folders_and_arrays_are_those_of_the_whole(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcde":
        (tmp_path / "images" / f"{name}.png").write_bytes(picture())
    for dataset in (open_dataset(tmp_path / "images"), open_dataset((np.arange(10.0).reshape(5, 2), np.arange(5)))):
        whole = [(item.id, item.labels) for item in dataset]
        assert [(item.id, item.labels) for item in dataset.part(2, 4)] == whole[2:4]
