"""Short runs of `leannet train`, and what they left."""

import json

import yaml
from command_line import QUICK, SMALLEST, leannet
from model_folders import rows_of

# A network of a few thousand weights without batch norm: each image is seen as if it were alone.
WITHOUT_BATCH_NORM = "test_convnext"
# Every image as it is, the plain loss, one step for all of them, and weights that stay where they are.
STANDING = (
    *("--img-size", 32, "--no-small-input", "--hflip", 0, "--padding", 0, "--smoothing", 0, "--val-fraction", 0),
    *("--batch-size", 100, "--epochs", 1, "--opt", "sgd", "--lr", 1e-12, "--weight-decay", 0),
)


def train(data, folder, *more, network=SMALLEST, quick=QUICK):
    """Train into a folder; it must succeed."""
    answer = leannet("train", network, "--data", data, *quick, "--val-fraction", 0.25, *more, "--output", folder)
    assert answer.code == 0, answer.err
    return answer


def losses(folder):
    return [float(row["train_loss"]) for row in rows_of(folder / "results.csv")]


def results(folder):
    return json.loads((folder / "results.json").read_text())


def arguments(folder):
    return yaml.safe_load((folder / "args.yaml").read_text())
