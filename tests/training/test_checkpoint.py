"""Checkpoints: whole or refused, whatever happens to their files or while they are written; no pickle in them."""

import json
import shutil
import subprocess
import zipfile

import pytest
import timm
import torch
from safetensors import safe_open

from leannet import UserError, create_network
from leannet.training.checkpoints import find_checkpoint, load_checkpoint, save_checkpoint
from leannet_runtime import Preprocessing

NAMES = ("ash", "birch", "cedar")
FILES = ("SHA256SUMS", "config.json", "model.safetensors", "training.json", "training.safetensors")
MODULE = "leannet.training.checkpoints.checkpoint"
PREPROCESSING = Preprocessing(16, crop_pct=1.0)


def network(seed):
    torch.manual_seed(seed)
    return create_network("test_efficientnet", num_classes=3, img_size=16)


def save(run, number):
    """Write the checkpoint with this number; so much of its state is known."""
    model = network(number)
    state = {"number": number, "optimizer": {0: {"momentum": torch.full((3,), float(number))}}, "betas": (0.9, 0.99)}
    save_checkpoint(run, model, NAMES, PREPROCESSING, state)
    return model


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run with the checkpoints 1 and 2; not to be changed."""
    run = tmp_path_factory.mktemp("two")
    save(run, 1)
    save(run, 2)
    return run


@pytest.fixture
def run(two, tmp_path):
    return shutil.copytree(two, tmp_path / "run")


def number_in(folder):
    return load_checkpoint(folder).state["number"]


def test_the_newest_and_the_one_before_are_kept(run):
    assert sorted(path.name for path in run.iterdir()) == ["last", "previous"]
    assert (number_in(run / "last"), number_in(run / "previous")) == (2, 1)
    save(run, 3)
    assert sorted(path.name for path in run.iterdir()) == ["last", "previous"]
    assert (number_in(run / "last"), number_in(run / "previous")) == (3, 2)
    assert find_checkpoint(run) == run / "last"


def test_everything_comes_back(run):
    found = load_checkpoint(run / "last")
    expected = network(2).state_dict()
    assert found.weights.keys() == expected.keys()
    assert all(found.weights[name].equal(tensor) for name, tensor in expected.items())
    assert found.state["optimizer"][0]["momentum"].tolist() == [2, 2, 2]
    assert found.state["betas"] == (0.9, 0.99)


def test_killed_between_the_two_renames(run):
    shutil.rmtree(run / "last")
    assert find_checkpoint(run) == run / "previous"
    save(run, 3)
    assert (number_in(run / "last"), number_in(run / "previous")) == (3, 1)


def test_no_checkpoint(tmp_path):
    assert find_checkpoint(tmp_path) is None


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut_off, empty, remove])
@pytest.mark.parametrize("file", FILES)
def test_damage_is_noticed_and_the_other_one_offered(file, damage, run):
    path = run / "last" / file
    damage(path)
    with pytest.raises(UserError) as caught:
        load_checkpoint(run / "last")
    assert caught.value.what == f"cannot use the checkpoint {run / 'last'}"
    # A changed list of sums blames the file that it is wrong about: both are in the same folder.
    named = [name for name in FILES if str(run / "last" / name) in caught.value.why]
    assert named == [file] or (file == "SHA256SUMS" and len(named) == 1)
    assert caught.value.remedy == (
        f"Go on from the other checkpoint of this run: leannet train --resume {run / 'previous'}"
    )
    assert number_in(run / "previous") == 1


@pytest.mark.parametrize("offset", range(0, 400, 7))
def test_any_byte_of_the_sums_counts(offset, run):
    path = run / "last" / "SHA256SUMS"
    content = bytearray(path.read_bytes())
    content[offset % len(content)] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot use the checkpoint"):
        load_checkpoint(run / "last")


def test_without_another_one_none_is_offered(run):
    shutil.rmtree(run / "previous")
    flip(run / "last" / "training.json")
    with pytest.raises(UserError, match="There is no other checkpoint of this run: train anew"):
        load_checkpoint(run / "last")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_sha256sum_agrees(run):
    for folder in ("last", "previous"):
        done = subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=run / folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"{name}: OK" for name in FILES if name != "SHA256SUMS"]
    flip(run / "last" / "model.safetensors")
    assert subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=run / "last", capture_output=True).returncode


@pytest.mark.parametrize(
    "target", ["leannet.training.model_folder.save_file", f"{MODULE}.save_file", f"{MODULE}.write_json"]
)
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("ours")])
def test_interrupted_writing_leaves_what_was_there(failure, target, run, monkeypatch):
    before = {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def half(value, path, *_):
        raise failure

    def half_json(path, value):
        path.write_bytes(b"{")
        # As `write_json` does it, which is replaced here as a whole.
        raise (
            UserError(f"cannot write {path}", "No space left on device", "")
            if isinstance(failure, OSError)
            else failure
        )

    monkeypatch.setattr(target, half_json if target.endswith("json") else half)
    with pytest.raises((UserError, KeyboardInterrupt, ValueError)) as caught:
        save(run, 3)
    assert {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in run.iterdir()) == ["last", "previous"]
    if isinstance(failure, OSError):
        assert str(caught.value) == (
            f"cannot write the checkpoint {run / 'last'}: No space left on device (the checkpoint before it is whole). "
            f"Make room, then go on with: leannet train --resume {run}."
        )
    else:
        assert caught.value is failure


def test_first_checkpoint_that_cannot_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"{MODULE}.save_file", full)
    with pytest.raises(UserError, match="there is none before it"):
        save(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_in_nobodys_way(run):
    (run / ".last.unfinished").mkdir()
    (run / ".last.unfinished" / "model.safetensors").write_bytes(b"half")
    (run / ".last.unfinished" / "notes").write_bytes(b"of somebody")
    assert number_in(find_checkpoint(run)) == 2
    save(run, 3)
    assert sorted(path.name for path in run.iterdir()) == ["last", "previous"]
    assert sorted(path.name for path in (run / "last").iterdir()) == sorted(FILES)


def test_no_pickle(run):
    """Every file is text, JSON or safetensors, by what is in it."""
    for path in sorted((run / "last").iterdir()):
        assert not zipfile.is_zipfile(path), "a file of torch.save"
        content = path.read_bytes()
        assert content[:1] != b"\x80", "a pickle"
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                assert list(file.keys())
        else:
            text = content.decode("utf-8")
            if path.suffix == ".json":
                json.loads(text)
    assert sorted(path.name for path in (run / "last").iterdir()) == sorted(FILES)


def test_timm_takes_the_weights_of_the_network(run):
    """Two files of safetensors lie there; timm must not take the other one."""
    model = network(2).eval()
    loaded = timm.create_model(f"local-dir:{run / 'last'}", pretrained=True).eval()
    batch = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert loaded(batch).equal(model(batch))
