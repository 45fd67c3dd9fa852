"""`leannet train` on a network with gates and exits: the columns, the table of the gates, what it all costs."""

import pytest
from command_line import QUICK, leannet
from model_folders import rows_of
from train_runs import results, train

from leannet import create_network
from leannet.models import GateMeter, count_exit_macs
from leannet.training import Trainer

NETWORK = "emgnet56_cifar"
EXITS = ["exit1", "exit2", "exit3", "ensemble"]
# So much regularisation that some gates close at once.
FORM = ("--img-size", 8, "--epochs", 2, "--gate-alpha", 0.5, "--lr", 0.05)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(trees, tmp_path_factory):
    """A run of two epochs; not to be changed."""
    folder = tmp_path_factory.mktemp("gates") / "run"
    train(trees, folder, *FORM, network=NETWORK)
    return folder


def test_each_epoch_has_the_gates_of_each_layer(run):
    rows = rows_of(run / "gates.csv")
    meter = GateMeter(create_network(str(run / "best")))
    assert list(rows[0]) == ["epoch", *meter.layers]
    assert [row["epoch"] for row in rows] == ["1", "2"]
    shares = [[float(share) for name, share in row.items() if name != "epoch"] for row in rows]
    assert all(0 <= share <= 1 for row in shares for share in row)
    assert len(shares[0]) == 54
    table = rows_of(run / "results.csv")
    assert [float(row["gates_open"]) for row in table] == pytest.approx([sum(row) / 54 for row in shares])
    assert 0 < float(table[-1]["gates_open"]) < 1


def test_each_exit_has_a_column(run):
    rows = rows_of(run / "results.csv")
    assert list(rows[0])[-5:] == [*(f"val_top1_{name}" for name in EXITS), "gates_open"]
    for row in rows:
        assert row["val_top1_exit3"] == row["val_top1"]
        for name in EXITS:
            correct = float(row[f"val_top1_{name}"]) / 100 * 6  # of 24 training images a quarter is kept back
            assert correct == pytest.approx(round(correct), abs=1e-6)


def test_what_the_exits_and_open_gates_cost(run):
    found = results(run)
    assert list(found["test"]["exits"]) == EXITS
    macs = count_exit_macs(create_network(str(run / "best")), 8)
    written = found["exit_macs"]
    assert (written["closed"], written["open"]) == (list(macs.closed), list(macs.open))
    part = written["measured_on"]
    assert part == "test"
    opened = found[part]["gates_open"]
    assert opened.keys() == macs.gates.keys()
    for number in range(3):
        beyond = sum(cost * opened[layer] for layer, (first, cost) in macs.gates.items() if first <= number)
        assert written["measured"][number] == pytest.approx(macs.closed[number] + beyond)
    assert macs.closed[2] < written["measured"][2] < macs.open[2]


def test_a_resumed_run_keeps_its_rows(trees, run, tmp_path):
    """Stopped in the second epoch, after which the tables are those of the uninterrupted run."""
    command = ("train", NETWORK, "--data", trees, *QUICK, "--val-fraction", 0.25, *FORM, "--checkpoint-every", "0s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leannet.training.loop.Trainer.run_epoch", _stopping_in(2))
        with pytest.raises(KeyError):
            leannet(*command, "-o", tmp_path / "run")
    assert [row["epoch"] for row in rows_of(tmp_path / "run" / "gates.csv")] == ["1"]
    answer = leannet("train", "--resume", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert (tmp_path / "run" / "gates.csv").read_bytes() == (run / "gates.csv").read_bytes()
    timed = ("images_per_second", "seconds")
    one, two = (
        [{name: cell for name, cell in row.items() if name not in timed} for row in rows_of(each / "results.csv")]
        for each in (run, tmp_path / "run")
    )
    assert one == two


def _stopping_in(epoch):
    """A way to run epochs that breaks off after two updates of this one."""
    whole = Trainer.run_epoch

    def run_epoch(self, on_update=None):
        def update(position):
            on_update(position)
            if position.epoch + 1 == epoch and position.updates == 2:
                raise KeyError

        return whole(self, update)

    return run_epoch
