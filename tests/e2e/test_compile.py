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
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("moco", 1e-3), ("interclr(moco-symmetric)", 1e-2)],  # of several terms; rounding may change a pseudo-label
)
def test_compiled_networks_train_alike_and_show_their_features(name: str, tolerance: float, tmp_path: Path):
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    if importlib.util.find_spec("torch._inductor") is None:
        pytest.skip("this torch has no compiler")
    recipe = recipe_for(METHODS[name])
    for folder, compiled in (("plain", False), ("compiled", True)):
        chosen = replace(recipe, runtime=replace(recipe.runtime, compile=compiled, online_heads=True))
        trainer = trainer_for(chosen, noise_source(), tmp_path / folder)
        trainer.run()
        assert (trainer.method.encoder._compiled_call_impl is not None) == compiled
    for one, other in zip(metrics_of(tmp_path / "plain"), metrics_of(tmp_path / "compiled"), strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=tolerance)
    states = checkpoint_of(tmp_path / "plain"), checkpoint_of(tmp_path / "compiled")
    assert states[0].keys() == states[1].keys()
    weights = [key for key in states[0] if key.endswith(".encoder.backbone.layer4.1.conv2.weight")]
    for key in weights:
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=tolerance)
    assert weights
    heads = ".online.heads.mlp.2.running_mean"  # of what the features became
    assert float(states[0][heads].abs().max()) > 0.1
    torch.testing.assert_close(states[0][heads], states[1][heads], rtol=0, atol=0.03)
