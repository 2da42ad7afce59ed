"""Triage on Ray: the same as on one machine, goes on where it was ended, and loses nothing when a worker dies."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from parquet_files import write

from annotriage import triage_to_folder
from annotriage.data import Item
from annotriage.errors import DataError, OutputError, SettingError
from annotriage.lake import ray_triage
from annotriage.lake.piece_files import read_piece, write_piece
from annotriage.lake.ray_triage import triage_on_ray
from annotriage.report.output import json_text

pytestmark = pytest.mark.xdist_group("ray")  # it is started once
PIECE = 96  # items: seven pieces of whole batches


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, with two workers' worth of cores, for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1", object_store_memory=80 * 2**20)
        yield ray
        ray.shutdown()


def test_without_ray_nothing_is_begun(digits_reference, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingError, match="Ray is not installed"):
        triage_on_ray(digits_reference, digits.held_out, tmp_path / "results")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def parts(digits, tmp_path_factory):
    """The demo's incoming digits as a folder of Parquet parts, one of them damaged, with people's labels and series."""
    x, y = digits.incoming
    folder = tmp_path_factory.mktemp("lake") / "digits"
    for number, rows in enumerate(np.array_split(np.arange(len(x)), 4)):
        ids, groups = [f"scan-{row}" for row in rows], [f"series {row // 3}" for row in rows]
        pictures = [x[row].tolist() for row in rows]
        write(folder / f"part-{number}.parquet", 50, x=pictures, label=[str(y[row]) for row in rows], id=ids, group=groups)
    (folder / "part-9.parquet").write_bytes(b"cut off")
    return folder


@pytest.fixture(scope="module")
def alone(digits_reference, parts, tmp_path_factory):
    """The same on one machine."""
    return triage_to_folder(digits_reference, parts, tmp_path_factory.mktemp("alone") / "out", table="parquet")


@pytest.fixture(scope="module")
def together(cluster, digits_reference, parts, tmp_path_factory):
    out = tmp_path_factory.mktemp("together") / "out"
    return triage_on_ray(digits_reference, parts, out, workers=2, piece_items=PIECE), out


def test_verdicts_and_the_state_of_the_dataset_are_those_of_one_machine(alone, together):
    found, _ = together
    one, many = list(alone.verdicts), list(found.verdicts)
    assert [(verdict.id, verdict.route, verdict.labels, verdict.reason) for verdict in one] == [
        (verdict.id, verdict.route, verdict.labels, verdict.reason) for verdict in many
    ]
    for name in ("score", "confidence", "outlier_score", "trust"):
        figures = [[getattr(verdict, name) or 0.0 for verdict in verdicts] for verdicts in (one, many)]
        assert np.allclose(*figures, atol=1e-5)
    states = [json.loads(json_text({**triage.summary(), "timings": None, "notes": None})) for triage in (alone, found)]
    mmd = [state["diversity"].pop("mmd") for state in states]
    assert mmd[0] == pytest.approx(mmd[1], abs=1e-5)
    assert states[0] == states[1]
    assert [seen.verdict.id for seen in alone.waiting] == [seen.verdict.id for seen in found.waiting]
    assert [seen.verdict.id for seen in alone.drawn] == [seen.verdict.id for seen in found.drawn]
    assert found.counts["failed"] == 1


def test_the_folder_holds_parquet_parts_and_the_report(together):
    found, out = together
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "summary.json", "verdicts"]
    assert json.loads((out / "summary.json").read_text())["counts"] == found.counts
    assert found.verdicts[3].id == list(found.verdicts)[3].id
    assert found.verdicts[-1].id == list(found.verdicts)[-1].id
    assert not list(out.parent.glob(".*"))


DYING = """
import os, sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from annotriage import Reference
from annotriage.lake.ray_triage import triage_on_ray

@contextmanager
def dying(label, total):
    seen = []
    def advance(count):
        seen.extend([count] if count else [])
        if len(seen) == 2:
            os.kill(os.getpid(), 9)
    yield advance

reference, data, out, address, piece = sys.argv[1:]
triage_on_ray(Reference.load(reference), data, out, address=address, workers=1, piece_items=int(piece), progress=dying)
"""


def test_a_run_that_was_killed_judges_what_is_missing_alone(cluster, digits_reference, parts, together, tmp_path):
    kept, out = tmp_path / "reference", tmp_path / "out"
    digits_reference.save(kept)
    address = cluster.get_runtime_context().gcs_address
    ended = subprocess.run([sys.executable, "-c", DYING, kept, parts, out, address, str(PIECE)], env=os.environ, timeout=300)
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".out.unfinished" / "verdicts").glob("*.parquet")}
    assert len(before) >= 2

    finished = triage_on_ray(digits_reference, parts, out, workers=1, piece_items=PIECE)
    assert finished.counts == together[0].counts
    assert {name: (out / "verdicts" / name).stat().st_mtime_ns for name in before} == before
    assert [verdict.id for verdict in finished.verdicts] == [verdict.id for verdict in together[0].verdicts]


def test_an_unfinished_run_of_something_else_is_not_continued(digits_reference, parts, tmp_path, monkeypatch):
    sizes = []

    def ended(task, *_):
        sizes.append(task.settings.batch_size)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ray_triage, "_run", ended)
    with pytest.raises(KeyboardInterrupt):
        triage_on_ray(digits_reference, parts, tmp_path / "out", piece_items=PIECE)
    with pytest.raises(OutputError, match="an unfinished run with another reference, other data or settings; pass --replace"):
        triage_on_ray(digits_reference, parts, tmp_path / "out", piece_items=2 * PIECE)
    with pytest.raises(KeyboardInterrupt):
        triage_on_ray(digits_reference, parts, tmp_path / "out", piece_items=2 * PIECE, replace_existing=True)
    assert sizes == [32, 32], "no worker finds a size of its own, by which last digits would differ"


def test_a_worker_that_is_killed_costs_no_item(cluster, digits_reference, parts, together, tmp_path):
    """Ray starts another one, which judges what the first left undone."""
    killed = []

    @contextmanager
    def killing(label, total):
        def advance(count):
            if count and not killed:
                for child in psutil.Process().children(recursive=True):
                    with suppress(psutil.Error):  # it has ended meanwhile
                        if "MapWorker" in " ".join(child.cmdline()):
                            child.kill()
                            killed.append(child.pid)

        yield advance

    for attempt in range(5):  # on a busy machine all may be judged before we hear of the first
        finished = triage_on_ray(digits_reference, parts, tmp_path / f"out{attempt}", workers=1, piece_items=32, progress=killing)
        if killed:
            break
    assert killed
    assert finished.counts == together[0].counts
    assert [verdict.id for verdict in finished.verdicts] == [verdict.id for verdict in together[0].verdicts]


def test_a_piece_is_read_back_as_it_was_written(alone, digits_reference, parts, tmp_path):
    from annotriage.data import open_dataset
    from annotriage.engine.triage import Tally
    from annotriage.model.stream import stream

    settings = digits_reference.settings
    tally = Tally(digits_reference, settings)
    for batch in stream(digits_reference.open_model(None, settings), open_dataset(parts).part(0, 64), settings):
        list(tally.add(batch))
    piece = tally.piece()
    write_piece(tmp_path / "piece.npz", piece)
    back = read_piece(tmp_path / "piece.npz")
    assert (back.counts, back.labels, back.groups) == (piece.counts, piece.labels, piece.groups)
    for name in ("scores", "clusters", "outliers"):
        assert np.array_equal(getattr(back, name), getattr(piece, name))
    for name in ("drawn", "waiting", "failed", "strange"):
        for one, other in zip(getattr(back, name), getattr(piece, name), strict=True):
            assert np.array_equal(one.point, other.point)
            assert one.picture == other.picture
    assert [seen.verdict for seen in back.drawn] == [seen.verdict for seen in piece.drawn]


@pytest.mark.parametrize("content", [b"half", b"", b"PK\x03\x04 and no more"])
def test_a_damaged_piece_says_what_to_do(tmp_path, content):
    (tmp_path / "piece.npz").write_bytes(content)
    with pytest.raises(OutputError, match="run the same command again, which makes it again"):
        read_piece(Path(tmp_path / "piece.npz"))


def test_workers_that_no_machine_can_carry_are_refused_at_once(cluster, digits_reference, parts, tmp_path):
    with pytest.raises(SettingError, match="no node has 1 core and 1 GPU for a worker; lower the setting threads, or --worker-gpus"):
        triage_on_ray(digits_reference, parts, tmp_path / "out", gpus=1.0, piece_items=PIECE)


def test_data_that_cannot_be_read_in_pieces_are_refused(digits_reference, tmp_path):
    with pytest.raises(DataError, match="cannot be read in pieces; give a folder, a manifest"):
        triage_on_ray(digits_reference, iter([Item("a", np.zeros((8, 8), np.uint8))]), tmp_path / "out")


def test_two_runs_do_not_write_the_same_results_at_once(digits_reference, parts, tmp_path, monkeypatch):
    def meanwhile(*_):
        with pytest.raises(OutputError, match="another run writes these results at this moment"):
            triage_on_ray(digits_reference, parts, tmp_path / "out", piece_items=PIECE)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(ray_triage, "_run", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        triage_on_ray(digits_reference, parts, tmp_path / "out", piece_items=PIECE)


def test_a_large_dataset_keeps_of_each_piece_what_its_sample_can_need(digits_reference):
    settings = replace(digits_reference.settings, map_sample=10_000)
    assert ray_triage._sampling(settings, 5_000, 100_000_000).map_sample < 120
    assert ray_triage._sampling(settings, 5_000, 8_000).map_sample > 7_000
