"""``leannet search-alpha``: a run for each alpha, larger ones close gates, and a second call adds what is missing."""

import csv
import json

import pytest
import torch
from command_line import leannet, refusal

pytestmark = pytest.mark.slow

FIELDS = ("--data", "digits", "--epochs", 1, "--batch-size", 128, "--img-size", 8, "--lr", 0.02)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "found"
    found = leannet("search-alpha", "emgnet56_cifar", *FIELDS, "--alphas", "3,0", "--output", folder)
    assert found.code == 0, found.err
    return folder, found


def rows(folder):
    return list(csv.DictReader((folder / "alphas.csv").open()))


def thresholds(folder):
    from safetensors.torch import load_file

    weights = load_file(folder / "best" / "model.safetensors")
    return torch.cat([tensor for name, tensor in weights.items() if name.endswith("gate.threshold")])


def test_a_larger_alpha_raises_thresholds(searched):
    folder, found = searched
    assert [row["alpha"] for row in rows(folder)] == ["0", "3"]
    assert thresholds(folder / "alpha-3").mean() > thresholds(folder / "alpha-0").mean() + 0.01
    for row in rows(folder):
        results = json.loads((folder / f"alpha-{row['alpha']}" / "results.json").read_text())
        assert float(row["macs"]) == pytest.approx(results["exit_macs"]["by_part"]["validation"][-1], abs=1)
        assert results["exit_macs"]["closed"][-1] <= float(row["macs"]) <= results["exit_macs"]["open"][-1]
        assert float(row["top1"]) == pytest.approx(results["validation"]["top1"]["value"], abs=0.006)
    assert float(rows(folder)[1]["gates_open"]) <= float(rows(folder)[0]["gates_open"])
    assert "Next: leannet calibrate" in found.out


def test_a_second_call_adds_what_is_missing(searched):
    folder, _ = searched
    before = (folder / "alpha-3" / "results.json").stat().st_mtime_ns
    found = leannet("search-alpha", "emgnet56_cifar", *FIELDS, "--alphas", "0,1,3", "--output", folder)
    assert found.code == 0, found.err
    assert [row["alpha"] for row in rows(folder)] == ["0", "1", "3"]
    assert (folder / "alpha-3" / "results.json").stat().st_mtime_ns == before


def test_other_settings_do_not_get_the_old_rows(searched):
    folder, _ = searched
    fields = [2 if field == 1 else field for field in FIELDS]  # two epochs
    said = refusal("search-alpha", "emgnet56_cifar", *fields, "--alphas", "3", "--output", folder)
    assert "it was begun with other settings" in said


def test_mistakes(searched, tmp_path):
    folder, _ = searched
    assert "--alphas 1,x: these are not numbers" in refusal(
        "search-alpha", "emgnet56_cifar", "--data", "digits", "--alphas", "1,x"
    )
    assert "resnet20_cifar has no gates" in refusal("search-alpha", "resnet20_cifar", "--data", "digits")
    (tmp_path / "alpha-0").mkdir()
    (tmp_path / "alpha-0" / "args.yaml").write_text((folder / "alpha-0" / "args.yaml").read_text())
    said = refusal("search-alpha", "emgnet56_cifar", "--data", "digits", "--alphas", "0", "--output", tmp_path)
    assert "it was begun with other settings" in said
