"""Banks in half precision and in files: every method trains with them, and law 2 holds."""

from pathlib import Path

import pytest
import torch

from lawbook import METHODS, batch_for, build, copied, differing, encode_of
from lawcheck import AT, INDEX, no_trace, stopped, unbroken
from viewkin.memory.bank import ROWS_PER_DRAW, BankStorage, FeatureBank, bank_storage
from viewkin.runs.execute import train_run
from viewkin.runs.resolve import TrainRequest
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress


def banks(method):
    return [module for module in method.modules() if isinstance(module, FeatureBank)]


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_method_starts_and_trains_with_banks_in_half_precision(name, dtype):
    with bank_storage(BankStorage(dtype=dtype)):
        method = build(METHODS[name])
    before = [bank.everything().clone() for bank in banks(method)]
    if not before:
        return
    encode, second = encode_of(method, torch.float32), Progress(step=3, steps=30, epoch=1, epochs=10)
    method.start(encode, AT)
    method.update(method(batch_for(method, INDEX), AT).record, AT)
    method.epoch(encode, second)  # where offline labels are found anew
    method(batch_for(method, INDEX), second).loss.backward()
    for old, new in zip(before, banks(method), strict=True):
        assert new.everything().dtype == dtype
        assert not torch.equal(old, new.everything())
        assert new.read(torch.arange(len(new))).dtype == torch.float32
    assert all(value.isfinite().all() for value in copied(method).values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("name", ["npid", "interclr", "invp"])
def test_law_2_holds_for_a_bank_in_a_file(name, tmp_path):
    unbroken(name, tmp_path / "memory")
    with bank_storage(BankStorage(folder=tmp_path)):
        unbroken(name, tmp_path / "a")
        stopped(name, tmp_path / "b", calls=10)
    no_trace(tmp_path / "a", tmp_path / "b")
    no_trace(tmp_path / "memory", tmp_path / "b")


@pytest.mark.parametrize("init", ["normal", "uniform"])
def test_a_file_begins_with_the_rows_that_memory_does_and_has_no_name(init, tmp_path):
    count = ROWS_PER_DRAW + 100
    torch.manual_seed(1)
    held = FeatureBank(count, 4, init=init)
    torch.manual_seed(1)
    with bank_storage(BankStorage(folder=tmp_path)):
        kept = FeatureBank(count, 4, init=init)
    assert torch.equal(kept.everything(), held.everything())
    assert float(kept.everything().norm(dim=1).min()) > 0
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) in Path("/proc/self/maps").read_text()


def request(tmp_path, *settings, method="npid", **options):
    return TrainRequest(
        data="generated:images=80,size=16",
        recipe="cifar10_cpu",
        method=method,
        smoke=True,
        out=tmp_path / "run",
        settings=("runtime.accelerator=cpu", "runtime.threads=1", *settings),
        **options,
    )


def test_a_run_keeps_its_bank_as_its_settings_say_and_resumes(tmp_path):
    asked = request(tmp_path, "runtime.bank_dtype=bfloat16", f"runtime.bank_folder={tmp_path}")
    assert train_run(asked).outcome.finished
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    kept = [value for value in tensors(state) if value.dtype == torch.bfloat16]
    assert [value.shape[1] for value in kept] == [128]
    again = TrainRequest(data=asked.data, out=asked.out, resume=True)
    assert train_run(again).outcome.finished
    assert not differing(state["method"], torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["method"])


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from tensors(one)


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("simclr", ("runtime.bank_dtype=bfloat16",), "simclr, which keeps no bank"),
        ("npid", ("runtime.bank_folder=/nowhere/at/all",), "cannot hold a bank"),
        ("npid", ("runtime.bank_dtype=int8",), "bank_dtype"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_a_sentence(method, settings, said, tmp_path):
    with pytest.raises(UserError, match=said) as refusal:
        train_run(request(tmp_path, *settings, method=method))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_a_file_is_refused_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr("viewkin.runs.execute.accelerator_of", lambda runtime: "cuda")
    with pytest.raises(UserError, match=r"runtime\.accelerator=cpu"):
        train_run(request(tmp_path, f"runtime.bank_folder={tmp_path}"))
