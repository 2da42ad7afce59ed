"""The built wheel holds all that the product needs: it runs in an environment that has the dependencies and nothing of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def fresh_python(tmp_path_factory):
    """The interpreter of a new environment with the wheel installed and the dependencies in reach."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("annotriage-*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    site = _output(python, "import sysconfig; print(sysconfig.get_path('purelib'))", folder)
    target = Path(site)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], check=True)
    # A path added this way brings the dependencies but not this checkout, which is installed there by a .pth file of its own.
    (target / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return python


def test_the_demo_runs_from_the_wheel_alone(fresh_python, tmp_path):
    where = _output(fresh_python, "import annotriage; print(annotriage.__file__)", tmp_path)
    assert not Path(where).is_relative_to(ROOT)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ANNOTRIAGE_MAP": "pca"}
    command = [fresh_python, "-m", "annotriage.cli", "demo", "--offline", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".demo" / "offline" / "results" / "report.html").stat().st_size > 100_000


def _output(python: Path, program: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # which may lead to this checkout
    done = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, cwd=folder, env=environment)
    return done.stdout.strip()
