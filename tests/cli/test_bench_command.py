"""`leannet bench`: tables, files, and what it refuses. No time decides a test: where one counts, it is made up."""

import csv
import importlib
import json
import statistics

import pytest
import torch
import yaml
from command_line import SMALLEST, TREES, leannet, refusal
from model_folders import make_model_folder
from test_models_command import count_by_hand
from torch import nn

from leannet import create_network
from leannet.measure.bench import COPIES, RoundTimes

run = importlib.import_module("leannet.report.bench.run")
networks = importlib.import_module("leannet.report.bench.networks")

QUICK = ("--rounds", 6, "--img-size", 16, "--num-classes", 3)
OTHER = "mobilenetv2_cse"


@pytest.fixture(autouse=True)
def _quick_collector(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture
def known_times(monkeypatch):
    """Let networks take as long as the dictionary says: milliseconds by network."""
    known = {}

    def made_up(calls, *, rounds, **_):
        seconds = {name: tuple(known[name] / 1000 * (1 + 0.01 * (n % 3)) for n in range(rounds)) for name in calls}
        return RoundTimes(seconds, 10, {name: name != "unsteady" for name in calls})

    monkeypatch.setattr(run, "time_in_rounds", made_up)
    return known


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_of(answer):
    """Return the printed rows of the networks, as cells."""
    return {line.split()[0]: line.split() for line in answer.out.splitlines() if " MiB " in line or " KiB " in line}


def test_files_hold_what_was_timed(tmp_path):
    answer = leannet("bench", SMALLEST, OTHER, *QUICK, "--batch-sizes", "1,2", "--threads", 1)
    assert (answer.code, answer.err) == (0, "")
    folder = tmp_path / "runs" / "bench" / SMALLEST
    assert {path.name for path in folder.iterdir()} == {
        *("results.json", "results.csv", "rounds.csv", "args.yaml", "environment.json")
    }
    results = json.loads((folder / "results.json").read_text())
    assert results["complete"] is True
    assert results["reference"] == SMALLEST
    assert [(table["batch_size"], table["backend"]) for table in results["tables"]] == [(1, "eager"), (2, "eager")]
    rounds, table_rows = read(folder / "rounds.csv"), read(folder / "results.csv")
    assert (len(rounds), len(table_rows)) == (2 * 2 * 6, 2 * 2)
    for table in results["tables"]:
        assert table["copies"] == COPIES
        assert [row["network"] for row in table["networks"]] == [SMALLEST, OTHER]
        times = {}
        for row in table["networks"]:
            chosen = [
                r for r in rounds if (r["network"], int(r["batch_size"])) == (row["network"], table["batch_size"])
            ]
            times[row["network"]] = [float(r["ms"]) for r in chosen]
            assert row["median_ms"]["value"] == pytest.approx(statistics.median(times[row["network"]]), rel=1e-4)
            assert row["median_ms"]["low"] <= row["median_ms"]["value"] <= row["median_ms"]["high"]
            median = statistics.median(times[row["network"]])
            assert row["images_per_second"] == pytest.approx(1000 * table["batch_size"] / median, rel=1e-4)
            model = create_network(row["network"], num_classes=3, img_size=16)
            assert (row["parameters"], row["macs"]) == count_by_hand(model, 16)
            assert row["memory_bytes"] > 4 * row["parameters"]
        first, second = table["networks"]
        assert first["ratio"] is None
        ratios = [other / one for one, other in zip(times[SMALLEST], times[OTHER], strict=True)]
        assert second["ratio"]["value"] == pytest.approx(statistics.median(ratios), rel=1e-4)
    more = [table["networks"][0]["memory_bytes"] for table in results["tables"]]
    assert more[0] < more[1]  # of two images
    arguments = yaml.safe_load((folder / "args.yaml").read_text())
    assert (arguments["verb"], arguments["models"], arguments["batch_sizes"]) == ("bench", [SMALLEST, OTHER], [1, 2])
    assert "torch" in json.loads((folder / "environment.json").read_text())["packages"]
    assert leannet("bench", SMALLEST, *QUICK).code == 0
    assert (tmp_path / "runs" / "bench" / f"{SMALLEST}-2").is_dir()


def test_known_times_are_printed_and_judged(known_times):
    known_times |= {SMALLEST: 10.0, OTHER: 15.0, f"{SMALLEST} (2)": 10.0, "lcnet_050": 5.0}
    answer = leannet("bench", SMALLEST, OTHER, SMALLEST, "lcnet_050", *QUICK)
    rows = rows_of(answer)
    assert rows[OTHER][-6:] == ["66.0", "1.500", "1.500", "-", "1.500", "slower"]
    assert rows["lcnet_050"][-5:] == ["0.500", "0.500", "-", "0.500", "faster"]
    assert "reference" in answer.out
    twice = next(line for line in answer.out.splitlines() if line.startswith(f"{SMALLEST} (2)"))
    assert twice.endswith("1.000  1.000 - 1.000  no difference shown")
    assert "15.15  15.00 - 15.30" in answer.out
    flowing = " ".join(answer.out.split())
    assert "faster or slower only if its 95 % interval" in flowing
    assert "can run at once: affinity for" in flowing
    assert "6 rounds after 10 of warming up; load " in flowing
    assert "MACs beside time" not in flowing  # three different networks


def test_another_reference_is_timed_too(known_times):
    known_times |= {SMALLEST: 10.0, OTHER: 15.0}
    answer = leannet("bench", SMALLEST, "--reference", OTHER, *QUICK, "--json", "-o", "here")
    [table] = json.loads(answer.out)["tables"]
    first, second = table["networks"]
    assert (first["network"], first["ratio"]) == (OTHER, None)
    assert second["ratio"]["value"] == pytest.approx(10 / 15)
    assert second["ratio"]["word"] == "faster"


def test_macs_beside_time(known_times, tmp_path):
    names = [SMALLEST, "sm_v2", "lcnet_050", "mobilenetv2_100", "torchvision/shufflenet_v2_x0_5"]
    macs = {name: count_by_hand(create_network(name, num_classes=3, img_size=16), 16)[1] for name in names}
    known_times |= {name: 1e-6 * count**0.5 * 1000 for name, count in macs.items()}
    printed = leannet("bench", *names, *QUICK, "-o", "here").out
    [table] = json.loads((tmp_path / "here" / "results.json").read_text())["tables"]
    assert table["scaling"]["networks"] == 5
    assert table["scaling"]["exponent"]["value"] == pytest.approx(0.5)
    assert table["scaling"]["rank_correlation"]["value"] == pytest.approx(1.0)
    assert table["scaling"]["word"] == "time follows MACs, but not linearly: it grows slower than they do"
    assert "rank correlation 1.00 (1.00 to 1.00, p = 0.017), exponent 0.50 (0.50 to 0.50)" in printed


def test_model_folder_has_its_own_size_and_classes(trees, tmp_path, known_times):
    folder = make_model_folder(tmp_path / "small", trees)
    known_times[str(folder)] = 2.0
    answer = leannet("bench", folder, "--rounds", 3, "--json")
    [row] = json.loads(answer.out)["tables"][0]["networks"]
    assert (row["img_size"], row["num_classes"]) == (16, len(TREES))
    assert (tmp_path / "runs" / "bench" / "small" / "results.json").is_file()


class Undecided(nn.Module):
    """Which way it goes hangs on the image: no graph holds that."""

    def forward(self, x):
        x = x.flatten(1)[:, :3]
        return x if x.sum() > 0 else -x


@pytest.fixture
def no_graph(monkeypatch):
    def make(name, **options):
        return Undecided() if name == OTHER else create_network(name, **options)

    monkeypatch.setattr(networks, "create_network", make)


def test_a_network_that_cannot_be_exported_is_named(no_graph, tmp_path):
    answer = leannet("bench", SMALLEST, OTHER, *QUICK, "--backends", "eager,onnxruntime", "--json")
    assert answer.code == 1
    *_, said = answer.err.splitlines()
    assert said == f"leannet: could not be timed: {OTHER} in onnxruntime."
    results = json.loads(answer.out)  # nothing else is printed there, whatever exporters say
    eager, onnx = results["tables"]
    assert [row["network"] for row in eager["networks"]] == [SMALLEST, OTHER]
    assert [row["network"] for row in onnx["networks"]] == [SMALLEST]
    [failure] = onnx["failures"]
    assert (failure["network"], failure["backend"]) == (OTHER, "onnxruntime")
    assert failure["why"]
    assert "\x1b" not in failure["why"]


def test_without_the_reference_there_are_no_ratios(monkeypatch):
    def prepare(backend, model, *arguments):
        if type(model) is not type(create_network(SMALLEST)):
            raise RuntimeError("no such\nkernel")
        return real(backend, model, *arguments)

    real = run.prepare_call
    monkeypatch.setattr(run, "prepare_call", prepare)
    answer = leannet("bench", OTHER, SMALLEST, *QUICK)
    assert answer.code == 1
    assert "The reference could not be timed, so there are no ratios." in answer.out
    assert f"{OTHER} could not be timed: RuntimeError: no such\n" in answer.out
    assert f"{OTHER} cannot be timed in eager: RuntimeError: no such\n" in answer.err


def test_a_wrong_answer_is_not_timed(monkeypatch):
    monkeypatch.setattr(run, "prepare_call", lambda *_: lambda: torch.zeros(1, 3).numpy())
    answer = leannet("bench", SMALLEST, *QUICK)
    assert answer.code == 1
    assert "it answers differently from PyTorch, by 1e+02 % of the largest logit" in answer.out


def test_seconds_and_sizes(monkeypatch):
    asked = []

    def made_up(calls, *, rounds, seconds, **_):
        asked.append((rounds, seconds, torch.get_num_threads()))
        return RoundTimes(dict.fromkeys(calls, (0.001,) * 5), 10, dict.fromkeys(calls, True))

    monkeypatch.setattr(run, "time_in_rounds", made_up)
    answer = leannet("bench", SMALLEST, "--img-size", "16,24", "--seconds", 8, "-b", "1,2", "--threads", 1, "--json")
    assert [(t["img_size"], t["batch_size"]) for t in json.loads(answer.out)["tables"]] == [
        *((16, 1), (16, 2), (24, 1), (24, 2))
    ]
    assert all(rounds >= 1000 for rounds, _, _ in asked)
    assert [threads for _, _, threads in asked] == [1] * 4
    assert asked[0][1] == pytest.approx(2.0)  # a fair share; what is left over goes to the others
    assert 2.0 <= asked[1][1] <= 8 / 3 + 1e-9
    assert 2.0 <= asked[3][1] <= 8.0


def test_key_press_leaves_the_tables_so_far(monkeypatch, tmp_path):
    made, real = [], run.time_in_rounds

    def press(*arguments, **options):
        if made:
            raise KeyboardInterrupt
        made.append(True)
        return real(*arguments, **options)

    monkeypatch.setattr(run, "time_in_rounds", press)
    answer = leannet("bench", SMALLEST, *QUICK, "-b", "1,2", "-o", "here")
    assert (answer.code, answer.err) == (130, "leannet: interrupted\n")
    results = json.loads((tmp_path / "here" / "results.json").read_text())
    assert (results["complete"], len(results["tables"])) == (False, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet20_cifr"], "unknown network resnet20_cifr"),
        ([SMALLEST, "--reference", "nothing_like_it"], "unknown network nothing_like_it"),
        ([SMALLEST, "--backends", "eager,tensorrt"], "unknown backend tensorrt"),
        ([SMALLEST, "--backends", ","], "it names none"),
        ([SMALLEST, "--device", "tpu"], "unknown device tpu: it is not auto, cpu, cuda or cuda:N"),
        ([SMALLEST, "--device", "cpu,cuda:0"], "of several each is a cuda:N"),
        (
            [SMALLEST, "--dtype", "int8"],
            "cannot use --dtype int8: networks are not timed in it. Choose float32 or bfloat16",
        ),
        ([SMALLEST, "--dtype", "bfloat16", "--backends", "onnxruntime"], "its kernels take float32"),
        ([SMALLEST, "--device", "cpu", "--cuda-graph"], "cannot record a CUDA graph: the device is the CPU"),
        ([SMALLEST, "--threads", "9999"], "cannot time 9999 threads: "),
        ([SMALLEST, "--threads", "two"], "--threads two: not whole numbers from 1 on, with commas"),
        ([SMALLEST, "--batch-sizes", "1,0"], "--batch-sizes 1,0: not whole numbers"),
        (["test_vit", "--img-size", "8", "--no-small-input"], "test_vit cannot take images of 8 pixels"),
    ],
)
def test_mistakes(arguments, words, tmp_path):
    assert words in refusal("bench", *arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu():
    assert refusal("bench", SMALLEST, "--device", "cuda").startswith("leannet: no device cuda: PyTorch finds no GPU")


def test_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("leannet.deploy.backends.find_spec", lambda name: None if name == "openvino" else name)
    said = refusal("bench", SMALLEST, "--backends", "openvino")
    assert "openvino is not installed" in said
    assert "-m pip install openvino, or leave openvino out of --backends" in said


def test_a_run_of_another_kind_is_not_written_over(trees, tmp_path):
    folder = make_model_folder(tmp_path / "small", trees)
    before = sorted(path.name for path in folder.iterdir())
    assert "a run of another kind lies in it" in refusal("bench", SMALLEST, *QUICK, "-o", folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    for _ in range(2):  # but over one of its own
        assert leannet("bench", SMALLEST, *QUICK, "-o", tmp_path / "again").code == 0
