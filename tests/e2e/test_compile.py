"""runtime.compile changes how fast the networks run, and results by rounding alone."""

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lawbook import METHODS, checkpoint_of, metrics_of, noise_source, recipe_for, trainer_for


@pytest.mark.grid  # compiling takes a minute
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize("name", ["moco"])
def test_compiled_networks_train_alike(name: str, tmp_path: Path):
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    if importlib.util.find_spec("torch._inductor") is None:
        pytest.skip("this torch has no compiler")
    recipe = recipe_for(METHODS[name])
    for folder, compiled in (("plain", False), ("compiled", True)):
        chosen = replace(recipe, runtime=replace(recipe.runtime, compile=compiled))
        trainer = trainer_for(chosen, noise_source(), tmp_path / folder)
        trainer.run()
        assert (trainer.method.encoder._compiled_call_impl is not None) == compiled
    for one, other in zip(metrics_of(tmp_path / "plain"), metrics_of(tmp_path / "compiled"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
    states = checkpoint_of(tmp_path / "plain"), checkpoint_of(tmp_path / "compiled")
    assert states[0].keys() == states[1].keys()
    key = ".method.encoder.backbone.layer4.1.conv2.weight"
    torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=1e-3)
