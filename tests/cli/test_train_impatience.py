"""Ctrl-C twice, the second one in the middle of writing the checkpoint that the first one asked for."""

import importlib
import signal

import pytest
from command_line import QUICK, SMALLEST, leannet
from train_runs import results

from leannet.training.checkpoints import load_checkpoint

ARGUMENTS = (*QUICK, "--epochs", 2, "--val-fraction", 0.25)


@pytest.mark.parametrize("step", ["save_file", "write_json", "_synchronise"])
@pytest.mark.parametrize("earlier", [False, True], ids=["first checkpoint", "second checkpoint"])
def test_checkpoint_is_written_all_the_same(trees, tmp_path, step, earlier):
    checkpoint = importlib.import_module("leannet.training.checkpoints.checkpoint")
    loop = importlib.import_module("leannet.training.loop")
    real, update = getattr(checkpoint, step), loop.Trainer._update
    wanted = 4 if earlier else 2  # 18 images are three updates an epoch
    updates, pressed = [], []

    def press_first(*arguments):
        updates.append(None)
        if len(updates) == wanted:
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    def press_again(*arguments):
        if len(updates) == wanted and not pressed:
            pressed.append(sorted(path.name for path in (tmp_path / "run").iterdir()))
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, step, press_again)
        patch.setattr(loop.Trainer, "_update", press_first)
        answer = leannet("train", SMALLEST, "--data", trees, *ARGUMENTS, "--output", tmp_path / "run")
    assert answer.code == 130
    assert ".last.unfinished" in pressed[0]
    assert ("last" in pressed[0]) == earlier
    position = load_checkpoint(tmp_path / "run" / "last").state["trainer"]["position"]  # every byte is checked
    assert position["all_updates"] == wanted
    if earlier:
        before = load_checkpoint(tmp_path / "run" / "previous").state["trainer"]["position"]
        assert before["all_updates"] == 3
    assert answer.err.splitlines()[-1].startswith("leannet: stopped; a checkpoint is in ")
    assert leannet("train", "--resume", tmp_path / "run").code == 0
    assert results(tmp_path / "run")["epochs"] == 2
