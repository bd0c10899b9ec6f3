"""Claims about the first seconds: help, version, and what is not imported for them."""

import subprocess
import sys

import pytest

from commandline import viewkin


def test_help_does_not_import_torch():
    code = (
        "import sys\nfrom viewkin.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'numpy', 'lightning_fabric', 'PIL', 'pyarrow', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: viewkin" in done.stdout


def test_the_library_itself_imports_nothing_heavy():
    code = "import sys, viewkin; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", ["train", "embed", "export", "evaluate", "recipes", "demo", "compare", "figures"])
def test_every_command_has_a_help_page(command):
    ended = viewkin(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: viewkin {command}" in ended.out
    assert viewkin(command, "-h").out == ended.out


def test_examples_keep_their_lines():
    assert "  viewkin train photos/ --out runs/mine --resume\n" in viewkin("train", "--help").out


def test_no_command_shows_the_help():
    ended = viewkin()
    assert (ended.code, ended.out) == (0, viewkin("--help").out)


def test_the_version_is_the_package_s():
    from viewkin import __version__

    assert viewkin("--version").out == f"viewkin {__version__}\n"


def test_the_module_and_the_script_are_the_same_command():
    done = subprocess.run([sys.executable, "-m", "viewkin", "trian"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command 'trian'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["map", "neighbours", "similarities", "negatives", "positives", "segments", "curves", "ablation"]
)
def test_every_figure_has_a_help_page(name):
    ended = viewkin("figures", name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: viewkin figures {name}" in ended.out


def test_training_imports_fabric_without_a_trainer():
    code = (
        "import sys, viewkin.training.loop\n"
        "assert not {'lightning', 'pytorch_lightning', 'torchvision'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fabric_is_lightning_s_where_only_that_is_installed(tmp_path):
    fabric = tmp_path / "lightning" / "fabric"
    fabric.mkdir(parents=True)
    (tmp_path / "lightning" / "__init__.py").touch()
    (fabric / "wrappers.py").touch()
    (fabric / "__init__.py").write_text("class Fabric: ...")
    (fabric / "strategies.py").write_text("class DDPStrategy: ...")
    code = (
        f"import sys; sys.modules['lightning_fabric'] = None; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from viewkin.runtime.fabric_package import DDPStrategy, Fabric, wrappers\n"
        "print(Fabric.__module__, DDPStrategy.__module__, wrappers.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "lightning.fabric lightning.fabric.strategies lightning.fabric.wrappers\n"
