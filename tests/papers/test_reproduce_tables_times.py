"""Times beside what a paper prints: how they are judged, told, kept and taken again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from table_records import plan_of, verdict, write_reproduction, write_times

from leannet.papers.tables import make_rows, read_evidence
from leannet.papers.tables.timing import run_timings, timed_networks
from leannet.papers.tables.words import notes


@pytest.fixture(autouse=True)
def _no_counting(monkeypatch):
    """Leave the building of networks to the tests that are about counts."""
    for place in ("verdicts", "rows"):
        monkeypatch.setattr(f"leannet.papers.tables.{place}.count", lambda *_: (1_000_000, 50_000_000))


def test_times_are_judged_by_the_interval_and_gpus_are_not_guessed(tmp_path):
    plan = plan_of("sm_v2", tmp_path)
    random = np.random.default_rng(0)
    speed = random.normal(1, 0.2, 60).clip(0.5)  # of the machine, the same for all networks of a round
    networks = {"mobilenetv2_100": 20, "sm_v2": 14, "sm_v2_x2nr": 14, "torchvision/shufflenet_v2_x1_0": 14}
    noisy = {name: (ms * speed * random.normal(1, 0.02, 60)).tolist() for name, ms in networks.items()}
    write_reproduction(plan, {})
    write_times(plan, "family-cpu", noisy)
    faster = verdict(plan, "SM_V2 takes less CPU time than MobileNetV2", "imagenet100")
    assert faster.word == "confirmed"
    assert faster.comparisons[0].value == pytest.approx(-30, abs=1)
    assert verdict(plan, "SM_V2_x2nr takes more CPU time", "imagenet100").word == "not confirmed"
    skips = verdict(plan, "Removing skip connections", "imagenet100")
    assert skips.word == "not testable"
    assert skips.reason.startswith("nothing was timed on a GPU; on the CPU the time is ")
    assert [found.holds for found in skips.comparisons] == [None]
    write_times(plan, "family-cuda", noisy | {"sm_v2_x2nr": [2 * ms for ms in noisy["sm_v2"]]})
    assert verdict(plan, "Removing skip connections", "imagenet100").word == "contradicted"


# MACs and times of Table 2's networks: the exponent of one in the other, and its noise.
@pytest.mark.parametrize(
    ("exponent", "noise", "cpu", "gpu"),
    [
        (0.5, 0.01, "confirmed", "contradicted"),
        (1.0, 0.01, "contradicted", "contradicted"),
        (-0.5, 0.01, "contradicted", "confirmed"),
        (1.0, 0.4, "not confirmed", "contradicted"),
        (0.0, 0.5, "not confirmed", "not confirmed"),
    ],
)
def test_time_beside_macs_is_judged_either_way(tmp_path, monkeypatch, exponent, noise, cpu, gpu):
    plan = plan_of("sm_v2", tmp_path)
    write_reproduction(plan, {})
    networks = timed_networks(plan.experiment, plan.experiment.timing_of("Table 2"))
    macs = {name: 10**8 * 2**number for number, name in enumerate(networks)}
    monkeypatch.setattr("leannet.papers.tables.verdicts.count", lambda name, *_: (1, macs.get(name, 1)))
    random = np.random.default_rng(0)
    times = {name: [1e-3 * count**exponent * np.exp(random.normal(0, noise))] * 6 for name, count in macs.items()}
    for device in ("cpu", "cuda"):
        write_times(plan, f"known-networks-{device}", times)
    follows, hardly = (verdict(plan, f"The {name} time", "imagenet") for name in ("CPU", "GPU"))
    assert (follows.word, hardly.word) == (cpu, gpu), (follows.reason, hardly.reason)
    assert "eager on Example" in follows.reason
    for device in ("cpu", "cuda"):
        shutil.rmtree(tmp_path / "timing" / f"known-networks-{device}")
        write_times(plan, f"known-networks-{device}", times, cold=networks[:1])
    cold = [verdict(plan, f"The {name} time", "imagenet") for name in ("CPU", "GPU")]
    assert all(each.reason.endswith(f"; times of {networks[0]} had not settled before)") for each in cold)
    assert [each.word for each in cold] == [cpu, gpu]


def test_times_tell_under_which_circumstances_they_were_taken(tmp_path):
    plan = plan_of("sm_v2", tmp_path)
    write_reproduction(plan, {})
    milliseconds = {"mobilenetv2_100": [20.0, 21.0, 22.0] * 4, "sm_v2": [14.0, 14.7, 15.4] * 4}
    write_times(plan, "family-cpu", milliseconds, others=0.4)
    says, told = (
        "SM_V2 takes less CPU time than MobileNetV2",
        "PyTorch 2.14.1 eager on Example, 1 thread, batch 1, 12 rounds",
    )
    found = verdict(plan, says, "imagenet100")
    assert found.word == "confirmed"
    assert found.reason.endswith(f"{told} in turns; other processes took 40 % of all cores meanwhile")
    evidence = read_evidence(plan)
    assert any(told in note for note in notes(evidence, make_rows(evidence, "Table 3")))
    other = plan_of("sm_v2", tmp_path / "cold")
    write_reproduction(other, {})
    write_times(other, "family-cpu", milliseconds, cold=("sm_v2",))
    cold = verdict(other, says, "imagenet100")
    assert cold.word == "confirmed"
    assert cold.reason.endswith(f"{told} in turns; times of sm_v2 had not settled before")


def test_times_of_several_copies_have_the_wider_interval(tmp_path):
    """Each copy is as fast as the other network's, or a tenth slower, by where it lies; no round tells."""
    widths = []
    for copies in (1, 6):
        plan = plan_of("sm_v2", tmp_path / str(copies))
        write_reproduction(plan, {})
        slower = [20.0, 20.0, 20.0, 20.0, 20.0, 22.0] * 20
        write_times(plan, "family-cpu", {"mobilenetv2_100": [20.0] * 120, "sm_v2": slower}, copies=copies)
        timing = next(timing for timing in plan.experiment.timings if timing.name == "family")
        found = read_evidence(plan).ratio("sm_v2", "mobilenetv2_100", timing, "cpu")
        widths.append(found.high - found.low)
    assert widths == pytest.approx([0, 0.1])


@pytest.mark.parametrize("change", [{"rounds": 3}, {"img_sizes": [96]}, {"models": ["sm_v2"]}, {"complete": False}])
def test_times_that_were_taken_otherwise_are_not_kept(tmp_path, monkeypatch, change):
    plan = plan_of("sm_v2", tmp_path)
    write_times(plan, "family-cpu", {"mobilenetv2_100": [20.0] * 9, "sm_v2": [14.0] * 9})
    begun = []
    monkeypatch.setattr("leannet.papers.tables.timing.run_bench", lambda _request, place, _: begun.append(place.name))

    def run():
        run_timings(plan.experiment, plan.budget, tmp_path, None, tables=("Table 3",))
        return begun

    assert run() == []
    for name in ("args.yaml", "results.json"):
        path = tmp_path / "timing" / "family-cpu" / name
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
        if name == "results.json":
            path.write_text(json.dumps(yaml.safe_load(path.read_text())))
    assert run() == ["family-cpu"]
    assert read_evidence(plan).times == {}
