import ctypes
import platform
import subprocess
import sys

import pytest

from viewkin.allocation import kept_memory

RESIDENT = """
import torch
from pathlib import Path
from viewkin.allocation import kept_memory

def resident():
    line, = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

def filled_and_freed():
    before = resident()
    rows = torch.ones(16 * 2**20)  # 64 MiB
    assert resident() > before + 60
    del rows
    return resident() - before

torch.ones(16 * 2**20)
print(filled_and_freed())
with kept_memory():
    print(filled_and_freed())
    with kept_memory():
        pass
    torch.ones(16 * 2**20)
    print(resident())
print(resident())
print(filled_and_freed())
with kept_memory(False):
    print(filled_and_freed())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_stays_until_the_end_and_not_beyond():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    before, inside, still, after, again, unwanted = map(float, done.stdout.split())
    assert inside > 60
    assert still - after > 60
    assert max(before, again, unwanted) < 4


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    def no_library(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with kept_memory():
        pass
