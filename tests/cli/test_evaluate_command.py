"""One evaluation from beginning to end: what it prints, what it writes, and whether it is true."""

import hashlib
import importlib
import json
import shutil

import pytest
import torch
import yaml
from command_line import TREES, leannet, make_images
from model_folders import make_model_folder, rows_of, truth_of
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_score, recall_score

FILES = {
    *("args.yaml", "environment.json", "results.json", "predictions.csv", "per_class.csv"),
    *("confusion_matrix.csv", "confusion_matrix.svg", "confidently_wrong.csv", "confidently_wrong.png"),
}


@pytest.fixture(scope="module")
def network(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("run") / "best", trees)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "trees"


@pytest.fixture(scope="module")
def answer(network, trees, output):
    answer = leannet("evaluate", network, "--data", trees, "--output", output)
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def results(answer, output):
    return json.loads((output / "results.json").read_text())


def test_every_file_is_there_and_nothing_else(answer, output):
    assert {path.name for path in output.iterdir()} == FILES


def test_predictions_are_those_of_the_saved_network(answer, output, network, trees):
    files, labels, probabilities = truth_of(network, trees)
    rows = rows_of(output / "predictions.csv")
    assert [row["image"] for row in rows] == files
    assert len({row["predicted"] for row in rows}) > 1
    for row, label, chances in zip(rows, labels, probabilities, strict=True):
        assert (row["label"], row["predicted"]) == (TREES[label], TREES[chances.argmax()])
        assert row["correct"] == str(int(chances.argmax() == label))
        assert float(row["probability"]) == pytest.approx(chances.max(), abs=1e-4)
        assert float(row["label_probability"]) == pytest.approx(chances[label], abs=1e-4)


def test_figures_are_those_of_scikit_learn(results, network, trees):
    _, labels, probabilities = truth_of(network, trees)
    predicted = probabilities.argmax(axis=1)
    figures = results["figures"]
    correct = int((predicted == labels).sum())
    interval = binomtest(correct, 15).proportion_ci(method="wilson")
    assert figures["top1"] == {
        "value": pytest.approx(100 * correct / 15),
        "low": pytest.approx(100 * interval.low),
        "high": pytest.approx(100 * interval.high),
        "method": "Wilson",
        "unit": "%",
    }
    assert figures["loss"]["value"] == pytest.approx(log_loss(labels, probabilities), rel=1e-3)
    assert figures["loss"]["unit"] == "nats"
    assert figures["balanced_accuracy"]["value"] == pytest.approx(
        100 * recall_score(labels, predicted, average="macro")
    )
    assert figures["macro_f1"]["value"] == pytest.approx(100 * f1_score(labels, predicted, average="macro"))
    assert set(figures) == {"top1", "balanced_accuracy", "macro_f1", "loss", "calibration_error"}  # three classes
    for figure in figures.values():
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_tables_of_classes_are_those_of_scikit_learn(answer, output, network, trees):
    _, labels, probabilities = truth_of(network, trees)
    predicted = probabilities.argmax(axis=1)
    precision = precision_score(labels, predicted, average=None, zero_division=0)
    recall = recall_score(labels, predicted, average=None)
    for label, row in enumerate(rows_of(output / "per_class.csv")):
        assert (row["class"], row["images"]) == (TREES[label], "5")
        assert float(row["precision"] or 0) == pytest.approx(100 * precision[label], abs=1e-3)
        assert float(row["recall"]) == pytest.approx(100 * recall[label], abs=1e-3)
        assert float(row["recall_low"]) <= float(row["recall"]) <= float(row["recall_high"])
    matrix = rows_of(output / "confusion_matrix.csv")
    assert [row.pop("true") for row in matrix] == list(TREES)
    counts = [[int(row[name]) for name in TREES] for row in matrix]
    assert counts == confusion_matrix(labels, predicted).tolist()


def test_wrong_answers_are_listed_the_most_confident_first(answer, output, network, trees):
    wrong = rows_of(output / "confidently_wrong.csv")
    chances = [float(row["probability"]) for row in wrong]
    assert chances == sorted(chances, reverse=True)
    all_wrong = {row["image"] for row in rows_of(output / "predictions.csv") if row["correct"] == "0"}
    assert {row["image"] for row in wrong} == all_wrong
    first = next(line for line in answer.out.splitlines() if line.startswith(wrong[0]["image"]))
    assert first.split()[1:] == [wrong[0]["label"], wrong[0]["predicted"], f"{100 * chances[0]:.2f}"]


def test_circumstances_are_written(answer, results, output, network, trees):
    weights = (network / "model.safetensors").read_bytes()
    assert results["model"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert results["model"]["folder"] == str(network)
    data = results["data"]
    assert (data["split"], data["images"], data["skipped"]) == ("test", 15, 0)
    assert (data["classes"], len(data["fingerprint"])) == (list(TREES), 64)
    described = json.loads((output / "environment.json").read_text())
    assert described["data"] == data
    assert {"torch", "torchmetrics", "scikit-learn"} < set(described["packages"])
    arguments = yaml.safe_load((output / "args.yaml").read_text())
    assert (arguments["verb"], arguments["model"], arguments["data"]) == ("evaluate", str(network), str(trees))


def test_figures_are_printed(answer, results, output, network):
    top1 = results["figures"]["top1"]
    [line] = [line.split() for line in answer.out.splitlines() if line.startswith("top-1 %")]
    assert line[2:] == [f"{top1['value']:.2f}", f"{top1['low']:.2f}", "-", f"{top1['high']:.2f}"]
    for words in ("balanced accuracy %", "macro F1 %", "loss", "calibration error %", "Interval of top-1: Wilson."):
        assert words in answer.out
    assert "No top-5: there are not more than five classes." in answer.out
    assert f"Written to {output}: results.json" in answer.out
    assert f"Next: leannet profile {network} --per-layer" in answer.out
    assert "trees: 15 images of the test part, 3 classes, 16 px" in answer.err
    assert f"{network}: 15 images judged" in answer.err


def test_json_is_the_file(network, trees, tmp_path):
    answer = leannet("evaluate", network, "--data", trees, "--json")
    [written] = tmp_path.rglob("results.json")
    assert json.loads(answer.out) == json.loads(written.read_text())


def test_neither_batch_size_nor_memory_format_matters(network, trees, results, tmp_path):
    arguments = ("--batch-size", 4, "--no-channels-last", "--workers", 1, "--output", tmp_path / "out")
    assert leannet("evaluate", network, "--data", trees, *arguments).code == 0
    again = json.loads((tmp_path / "out" / "results.json").read_text())
    assert again["figures"]["loss"]["value"] == pytest.approx(results["figures"]["loss"]["value"], rel=1e-4)
    assert again["figures"]["top1"] == results["figures"]["top1"]


@pytest.mark.parametrize(("option", "channels_last"), [("--channels-last", True), ("--no-channels-last", False)])
def test_batch_size_and_memory_format_are_those_asked_for(network, trees, monkeypatch, option, channels_last):
    module = importlib.import_module("leannet.report.evaluation.run")
    real, seen = module.evaluate, []

    def watch(model, batches, device, **options):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        weights = next(tensor for tensor in model.parameters() if tensor.ndim == 4)
        seen.extend(
            (len(images), images.is_contiguous(memory_format=layout) and weights.is_contiguous(memory_format=layout))
            for images, _ in batches
        )
        return real(model, batches, device, **options)

    monkeypatch.setattr(module, "evaluate", watch)
    assert leannet("evaluate", network, "--data", trees, option, "-b", 4).code == 0
    assert seen == [(4, True), (4, True), (4, True), (3, True)]


def test_runs_get_names_of_their_own(network, trees, tmp_path, monkeypatch):
    run = tmp_path / "experiment"
    shutil.copytree(network, run / "best")
    for _ in range(2):
        assert leannet("val", run / "best", "--data", trees).code == 0  # the word of others for evaluate
    assert {path.name for path in (tmp_path / "runs" / "evaluate").iterdir()} == {"experiment", "experiment-2"}
    monkeypatch.setenv("LEANNET_RUNS", str(tmp_path / "elsewhere"))
    assert leannet("evaluate", run / "best", "--data", trees, "--name", "mine").code == 0
    assert {path.name for path in (tmp_path / "elsewhere" / "evaluate" / "mine").iterdir()} == FILES


@pytest.mark.parametrize("layout", ["best", "networks/resnet20_cifar/seed-0"])
def test_data_and_name_are_those_of_the_run(network, trees, tmp_path, layout):
    shutil.copytree(network, tmp_path / "run" / layout)
    (tmp_path / "run" / "args.yaml").write_text(yaml.safe_dump({"data": str(trees)}))
    assert leannet("evaluate", tmp_path / "run" / layout).code == 0
    [written] = tmp_path.glob("runs/evaluate/*/results.json")
    assert json.loads(written.read_text())["data"]["location"] == str(trees)
    assert written.parent.name == {"best": "run"}.get(layout, "resnet20_cifar")


@pytest.mark.parametrize(("split", "images"), [("train", 24), ("training", 24), ("test", 15)])
def test_split_is_chosen(network, trees, split, images):
    answer = leannet("evaluate", network, "--data", trees, "--split", split, "--json")
    assert json.loads(answer.out)["data"]["images"] == images


def test_validation_is_judged_where_there_is_no_test(network, tmp_path):
    data = make_images(tmp_path / "data", {f"val/{name}": 2 for name in TREES})
    judged = json.loads(leannet("evaluate", network, "--data", data, "--json").out)["data"]
    assert (judged["split"], judged["images"]) == ("validation", 6)


def test_least_accuracy(network, trees, results, tmp_path):
    top1 = results["figures"]["top1"]["value"]
    assert leannet("evaluate", network, "--data", trees, "--min-acc", f"{top1:.10f}"[:-4]).code == 0
    answer = leannet("evaluate", network, "--data", trees, "--min-acc", 99.5, "--output", tmp_path / "out")
    assert answer.code == 3
    assert answer.err.splitlines()[-1] == f"leannet: top-1 {top1:.2f} % is below --min-acc 99.5."
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_no_image_wrong(network, trees, tmp_path):
    """Ask for those images only that the network gets right."""
    files, labels, probabilities = truth_of(network, trees, "train")
    for file, label, chances in zip(files, labels, probabilities, strict=True):
        if chances.argmax() == label:
            (tmp_path / "right" / "test" / TREES[label]).mkdir(parents=True, exist_ok=True)
            shutil.copy(trees / file, tmp_path / "right" / "test" / TREES[label])
    answer = leannet("evaluate", network, "--data", tmp_path / "right", "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "No image was answered wrongly." in answer.out
    assert rows_of(tmp_path / "out" / "confidently_wrong.csv") == []
    assert json.loads((tmp_path / "out" / "results.json").read_text())["figures"]["top1"]["value"] == 100
