import ctypes
import platform

import pytest

from resident import printed
from viewkin.runtime.allocation import kept_memory

RESIDENT = """
import torch
from resident import resident
from viewkin.runtime.allocation import kept_memory

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
    before, inside, still, after, again, unwanted = printed(RESIDENT)
    assert inside > 60
    assert still - after > 60
    assert max(before, again, unwanted) < 4


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    def no_library(_: object) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with kept_memory():
        pass
