"""What stops a comparison: a key press, a full disk, a loss that is no number. What was finished must stay."""

import importlib
import signal
import subprocess
import sys

import pytest
from command_line import QUICK, SMALLEST, leannet, record_of, refusal, table_of
from safetensors.torch import load_file

OTHER = "test_efficientnet"
COMPARE = importlib.import_module("leannet.report.compare")  # by its path: the package has a function of that name
START = "import sys; from leannet_cli.main import main; sys.argv[0] = 'leannet'; main()"
# Files of at most this many bytes: the weights of OTHER fit (0.4 MB), those of SMALLEST (1.1 MB) do not.
LIMITED = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000));"
)


def test_key_press_keeps_what_is_finished(trees, tmp_path, monkeypatch):
    output = tmp_path / "out"
    arguments = ("compare", SMALLEST, OTHER, "--data", trees, *QUICK, "--output", output)
    real = COMPARE.train_run

    def stop_at_the_second(network, *rest):
        if network == OTHER:
            raise KeyboardInterrupt
        return real(network, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(COMPARE, "train_run", stop_at_the_second)
        answer = leannet(*arguments)
    assert answer.code == 130
    assert answer.err.splitlines()[-1] == (
        f"leannet: interrupted: 1 of 2 trainings are finished and kept in {output}; "
        "one that was going on begins anew. "
        "Run the same command again to go on."
    )
    record = record_of(output)
    again = leannet(*arguments)
    assert again.code == 0
    assert f"{SMALLEST}, seed 0: top-1 {100 * record['correct'] / 15:.2f} %, kept from before" in again.err
    assert f"[2/2] {OTHER}, seed 0" in again.err
    assert {row[1] for row in table_of(again)} == {SMALLEST, OTHER}
    assert record_of(output) == record


def test_key_press_in_the_middle_of_a_training(trees, tmp_path, monkeypatch):
    """The training begins anew, and comes to the weights of one that was not stopped."""
    arguments = ("compare", SMALLEST, "--data", trees, *QUICK, "--epochs", 2, "--output")
    real = importlib.import_module("leannet_cli.compare_progress").CompareProgress.epoch_done

    def stop(self, record):
        real(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("leannet_cli.compare_progress.CompareProgress.epoch_done", stop)
        assert leannet(*arguments, tmp_path / "stopped").code == 130
    for folder in ("stopped", "whole"):
        assert leannet(*arguments, tmp_path / folder).code == 0
    run = f"networks/{SMALLEST}/seed-0/model.safetensors"
    stopped, whole = load_file(tmp_path / "stopped" / run), load_file(tmp_path / "whole" / run)
    assert all(stopped[name].equal(whole[name]) for name in whole)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of POSIX")
def test_real_signal(trees, tmp_path):
    command = ["compare", SMALLEST, "--data", trees, *QUICK, "--epochs", "100000", "--output", tmp_path / "out"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        lines = []
        for line in process.stderr:  # it has begun to train when the first epoch is reported
            lines.append(line)
            if "epoch 1/100000" in line:
                process.send_signal(signal.SIGINT)
                break
        out, rest = process.communicate(timeout=60)
    said = [line for line in rest.splitlines() if not line.startswith("  epoch")]
    expected = f"leannet: interrupted: 0 of 1 trainings are finished and kept in {tmp_path / 'out'}; "
    assert said == [expected + "one that was going on begins anew. Run the same command again to go on."], lines
    assert (process.returncode, out) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX")
def test_full_disk_keeps_what_is_finished(trees, tmp_path):
    output = tmp_path / "out"
    arguments = ("compare", OTHER, SMALLEST, "--data", trees, *QUICK, "--output", output)
    command = [sys.executable, "-c", LIMITED + START, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2, done.stderr
    weights = output / "networks" / SMALLEST / "seed-0" / "model.safetensors"
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"leannet: cannot write {weights}: ")
    assert said.endswith("Make room and run the command again.")
    assert "Traceback" not in done.stderr
    assert not weights.exists()
    assert not [path for path in output.rglob(".*") if path.is_file()], "temporary files are left"
    record = record_of(output, OTHER)

    again = leannet(*arguments)
    assert again.code == 0
    assert f"{OTHER}, seed 0: top-1 {100 * record['correct'] / 15:.2f} %, kept from before" in again.err
    assert {row[1] for row in table_of(again)} == {SMALLEST, OTHER}


def test_training_that_breaks_down(trees, tmp_path):
    arguments = ("--data", trees, *QUICK, "--output", tmp_path / "out", "--opt", "sgd", "--lr", 1000, "--epochs", 6)
    said = refusal("compare", SMALLEST, *arguments, "--warmup-epochs", 0)
    assert "training broke down in epoch" in said
    assert said.endswith("the loss is no number any more. Lower --lr.")
    assert not (tmp_path / "out" / "networks" / SMALLEST / "seed-0" / "record.json").exists()


def test_network_that_cannot_be_read_back(trees, tmp_path):
    """torchvision's MNASNet wants a version that safetensors does not keep: its folder cannot be loaded."""
    arguments = ("--data", trees, *QUICK, "--img-size", 32, "--no-small-input", "--output", tmp_path / "out")
    assert refusal("compare", "torchvision/mnasnet0_5", *arguments)


def test_training_goes_on_from_a_folder_of_an_adapted_network(trees, tmp_path):
    arguments = ("--data", trees, *QUICK, "--output")
    assert leannet("compare", OTHER, *arguments, tmp_path / "one").code == 0
    folder = tmp_path / "one" / "networks" / OTHER / "seed-0"
    assert leannet("compare", folder, *arguments, tmp_path / "two").code == 0


def test_training_goes_on_from_a_model_folder(trees, tmp_path):
    arguments = ("--data", trees, *QUICK, "--output")
    leannet("compare", SMALLEST, *arguments, tmp_path / "one")
    folder = tmp_path / "one" / "networks" / SMALLEST / "seed-0"
    answer = leannet("compare", folder, *arguments, tmp_path / "two", "--lr", 1e-9)
    assert answer.code == 0
    [again] = (tmp_path / "two" / "networks").rglob("model.safetensors")
    before, after = load_file(folder / "model.safetensors"), load_file(again)
    for name in (name for name in before if name.endswith("weight")):
        assert after[name].allclose(before[name], atol=1e-6), "training did not begin at the saved weights"
