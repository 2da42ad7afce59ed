"""The command line: exit status, what it prints, and that stopping it leaves nothing half-written."""

from __future__ import annotations

import html
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from waiting import PATIENCE, wait_until

from annotriage.cli import main
from annotriage.engine.folders import whole_folder
from annotriage.errors import OutputError
from annotriage.progress import bars


@pytest.fixture
def run(monkeypatch):
    """Run a command in this process: (exit status, standard output, standard error)."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the test runner keeps its own Ctrl-C

    def run(*words, **environment):
        result = CliRunner().invoke(main, [str(word) for word in words], env=environment)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    """The digits as .npz files, one per part."""
    folder = tmp_path_factory.mktemp("files")
    for name in ("train", "held_out", "incoming"):
        images, labels = getattr(digits, name)
        np.savez(folder / f"{name}.npz", x=images, y=labels)
    return folder


@pytest.fixture(scope="module")
def saved(digits_reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "reference"
    digits_reference.save(folder)
    return folder


def test_fit_prints_the_guarantee_the_accuracies_and_the_next_command(run, files, digits_model, tmp_path):
    words = ("--model", digits_model, "--train", files / "train.npz", "--calibration", files / "held_out.npz", "--map", "none")
    status, out, _ = run("fit", *words, "--out", tmp_path / "reference", "--quiet")
    assert status == 0
    assert "automatic labels are wrong in the long run" in out
    assert "The model is right on 100% of the training items and 9" in out
    assert f"Next: annotriage triage --reference {tmp_path / 'reference'}" in out


def test_triage_prints_the_state_of_the_dataset_and_the_report(run, saved, files, tmp_path):
    status, out, _ = run("triage", "--reference", saved, "--data", files / "incoming.npz", "--out", tmp_path / "results", "--quiet")
    assert status == 0
    assert "items of incoming: " in out
    assert out.rstrip().endswith(str(tmp_path / "results" / "report.html"))


@pytest.mark.parametrize("command", ["triage", "compare", "bench"])
def test_figures_as_json(run, saved, files, tmp_path, command):
    out = {"triage": ("--out", tmp_path / "results"), "compare": ("--compressions", "pca"), "bench": ("--items", 64)}[command]
    status, text, _ = run(command, "--reference", saved, "--data", files / "incoming.npz", *out, "--json", "--quiet")
    assert status == 0
    assert {"triage": "diversity", "compare": "rows", "bench": "share"}[command] in json.loads(text)


def test_bench_prints_where_the_time_goes_and_what_to_change(run, saved, files):
    status, out, err = run("bench", "--reference", saved, "--data", files / "incoming.npz", "--items", 64)
    assert status == 0
    assert out.startswith("64 items of incoming in ")
    assert "Triage reaches " in out
    assert "waiting for the model" in out
    assert "triage of incoming" in err, "progress belongs to standard error"


@pytest.mark.parametrize(
    "option", [("--batch-size", "64"), ("--map", "none"), ("--model", "model.toml"), ("--labeling-config", "config.xml")]
)
def test_bench_of_a_project_refuses_what_it_would_not_heed(run, option):
    status, _, err = run("bench", "--project", "3", "--items", "5", "--quiet", *option)
    assert status == 2
    assert f"{option[0]} does nothing with --project" in err


def test_compare_takes_several_foreign_sets_and_writes_its_report(run, saved, files, tmp_path):
    foreign = ("--foreign", f"spots={files / 'incoming.npz'}", "--foreign", files / "incoming.npz")
    words = ("compare", "--reference", saved, "--data", files / "held_out.npz", *foreign, "--compressions", "pca,pca-joint", "--quiet")
    status, out, _ = run(*words, "--out", tmp_path / "comparison")
    assert status == 0
    assert "Best over all sets: " in out
    assert "Best on spots: " in out
    assert out.rstrip().endswith(str(tmp_path / "comparison" / "comparison.html"))
    facts = json.loads((tmp_path / "comparison" / "comparison.json").read_text("utf-8"))
    assert list(facts["sets"])[-2:] == ["spots", "incoming"]
    assert {row["compression"] for row in facts["rows"]} == {"", "pca", "pca-joint"}
    page = (tmp_path / "comparison" / "comparison.html").read_text("utf-8")
    assert facts["best"][0]["sentence"] in html.unescape(page)
    assert run(*words, "--out", tmp_path / "comparison")[0] == 1  # there are results already
    assert run(*words, "--foreign", files / "incoming.npz")[0] == 2  # two sets of one name
    assert run(*words, "--foreign", "noise=")[0] == 2, "an empty place is not the current folder"


def test_an_error_is_its_message_and_status_1(run, tmp_path):
    status, out, err = run("triage", "--reference", tmp_path / "gone", "--data", tmp_path, "--out", tmp_path / "results")
    assert (status, out) == (1, "")
    assert err.startswith("Error: ")
    assert "no reference can be read there (No such file or directory); make one with annotriage fit" in err


def test_data_of_which_nothing_can_be_read_is_an_error_with_its_reason(run, saved, tmp_path):
    (tmp_path / "missing.csv").write_text("path,label\nnope/a.png,1\nnope/b.png,2\n")
    words = ("triage", "--reference", saved, "--data", tmp_path / "missing.csv", "--out", tmp_path / "results", "--quiet")
    status, out, err = run(*words)
    assert (status, out) == (1, "")
    reason = f"{tmp_path / 'nope' / 'a.png'}: cannot be read (No such file or directory)"
    assert err.startswith(f"Error: none of the 2 items of missing could be scored: {reason}")
    assert "--replace" in err
    assert "nope/b.png" in (tmp_path / "results" / "verdicts.csv").read_text()
    status, out, _ = run(*words, "--replace", "--json")
    assert (status, json.loads(out)["counts"]["failed"]) == (1, 2)


def test_wrong_usage_is_status_2(run):
    assert run("triage", "--reference", "x")[0] == 2
    assert run("compare", "--reference", "x", "--data", "y", "--compressions", "zip")[0] == 2


def test_a_setting_that_was_fixed_when_fitted_is_not_ignored_in_silence(run, saved, files, tmp_path):
    words = ("triage", "--reference", saved, "--data", files / "incoming.npz", "--out", tmp_path / "results", "--quiet")
    status, _, err = run(*words, ANNOTRIAGE_ALPHA="0.1")
    assert status == 0
    assert "Setting alpha is 0.1 here, but stays 0.05: it was fixed when the reference was fitted." in err


def test_existing_results_are_refused_before_any_work(run, saved, files, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.txt").write_text("mine")
    status, _, err = run("triage", "--reference", saved, "--data", files / "incoming.npz", "--out", tmp_path / "results")
    assert status == 1
    assert "exists already; choose another folder for the results, or pass --replace" in err


def test_layers_marks_the_chosen_ones(run, digits_model):
    status, out, _ = run("layers", "--model", digits_model)
    assert status == 0
    assert sum(line.endswith("deciding") for line in out.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_triage_in_the_middle_leaves_nothing(saved, tmp_path, number):
    np.savez(tmp_path / "many.npz", x=np.random.default_rng(0).integers(0, 255, (200_000, 8, 8), dtype=np.uint8))
    words = ["triage", "--reference", str(saved), "--data", str(tmp_path / "many.npz"), "--out", str(tmp_path / "results")]
    process = subprocess.Popen([sys.executable, "-m", "annotriage.cli", *words], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(file.stat().st_size for file in tmp_path.glob(".results.*.part/verdicts.csv")), every=0.01, what="for verdicts")
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Stopped; nothing half-written was left behind." in err
    assert list(tmp_path.iterdir()) == [tmp_path / "many.npz"]


def test_a_step_that_fails_ends_its_line_before_the_error_is_told(capsys):
    with pytest.raises(ValueError, match="no"), bars("fitting", None):
        raise ValueError("no")
    with bars("fitting", None):
        pass
    first, second, rest = capsys.readouterr().err.split("\n")
    assert first == "fitting ... broke off"
    assert second.endswith(" s")
    assert rest == ""


def test_a_file_that_cannot_be_written_is_named_as_people_know_its_folder(tmp_path):
    with pytest.raises(OutputError) as told, whole_folder(tmp_path / "results", what="results", mark="summary.json") as folder:
        raise OutputError(f"{folder / 'report.html'}: no room")
    assert str(told.value) == f"{tmp_path / 'results' / 'report.html'}: no room"


def test_a_signal_that_a_library_swallows_stops_the_work_at_the_end_of_the_step():
    program = (
        "import os, signal\n"
        "from annotriage.progress import interruptible, silent\n"
        "step = interruptible(silent)\n"
        "with step('compiling', None):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        print('swallowed')\n"
        "print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "swallowed\n"
    assert done.returncode != 0
