"""Memory that is not needed any more goes back to the system, whatever was put beside it meanwhile."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, psutil
from annotriage.service.operations.memory import give_back_memory
give_back_memory()
process, kept = psutil.Process(), []
np.ones(3_000_000)  # 24 MB that are freed: from now on glibc keeps what is as large
before = process.memory_info().rss
for _ in range(8):
    large = np.ones(2_900_000)
    kept.append(np.ones(10_000))
    del large
    kept.append(np.ones(100_000))
print((process.memory_info().rss - before) // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_was_large_for_a_moment_leaves_nothing_behind():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20, "7 MB are kept; of what was freed 40 would stay"
