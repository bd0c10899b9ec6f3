"""Claims about the imports of the command line."""

import gc
import sys

import pytest

from viewkin.cli.fast_imports import swift_imports


@pytest.fixture
def fresh(monkeypatch):
    """A process that has not imported torch; what the collector was told to leave is taken back."""
    monkeypatch.delitem(sys.modules, "torch")
    yield
    gc.enable()
    gc.unfreeze()


def test_nothing_is_collected_meanwhile_and_what_came_is_left_alone(fresh):
    with swift_imports():
        assert not gc.isenabled()
        module = [[]]
    assert gc.isenabled()
    assert not any(found is module for found in gc.get_objects())
    later = [[]]
    assert any(found is later for found in gc.get_objects())


def test_an_import_that_fails_leaves_the_collector_on(fresh):
    with pytest.raises(ImportError), swift_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(fresh):
    gc.disable()
    with swift_imports():
        pass
    assert not gc.isenabled()


def test_a_process_with_torch_keeps_its_objects_collected():
    before = gc.get_freeze_count()
    with swift_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
