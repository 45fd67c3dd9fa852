"""How long processes wait for each other, by what torch itself says, and what becomes of memory that is freed."""

import os
import subprocess
import sys

import pytest
from torch import nn

from leannet.training.devices import bears_channels_last

ASK = """
import sys, torch.distributed as dist
from pathlib import Path
from leannet.training import make_accelerator
accelerator = make_accelerator("cpu")
assert accelerator.num_processes == 2
timeout = dist.group.WORLD._get_backend(accelerator.device).options._timeout
Path(sys.argv[1], str(accelerator.process_index)).write_text(str(timeout.total_seconds()))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_wait_while_the_first_reads_the_images(tmp_path):
    """torch's own limits, 10 minutes for NCCL and 30 for gloo, are less than reading a large set takes."""
    (tmp_path / "ask.py").write_text(ASK)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(tmp_path / "ask.py"), str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [float((tmp_path / rank).read_text()) for rank in "01"] == [12 * 3600, 12 * 3600]


COUNT = """
import resource, sys, torch
from leannet.training.devices import keep_freed_memory
said = keep_freed_memory() if sys.argv[1] == "keep" else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24)  # 64 MiB, 16,384 pages; glibc keeps blocks up to 32 MiB by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(said, faults())
"""


def count_faults(how, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how], capture_output=True, text=True, env={**clean, **environment}, timeout=120
    )
    said, faults = done.stdout.split()
    return said, int(faults)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator of glibc")
def test_freed_memory_is_used_again():
    """Counted by the system: without it every large tensor takes its pages anew (in fewer faults, if they are huge)."""
    assert count_faults("plain")[1] > 20 * 16
    said, faults = count_faults("keep")
    assert said == "True"
    assert faults < 20
    assert count_faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"


STEP = """
import timm, torch, leannet
from leannet.data import Augmentation, CachedPixels, Split, TrainBatches
from leannet.training import Recipe, Trainer, make_accelerator, train_network
network = timm.create_model("mobilenetv2_cse_only", num_classes=2, img_size=96)
pixels = torch.randint(0, 256, (8, 3, 96, 96), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
rows = torch.arange(8).numpy()
batches = TrainBatches(CachedPixels(pixels, Split(None, rows, rows % 2)), Augmentation(96, hflip=0.5), 8, seed=0)
recipe = Recipe(epochs=3, batch_size=8, opt="sgd", lr=0.01, warmup_epochs=0)
trainer = Trainer(network, batches, recipe, 2, make_accelerator("cpu"))
train_network(trainer)
print(trainer.channels_last)
"""


def test_a_network_that_damages_memory_channels_last_is_trained_in_the_usual_layout():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["False"]), done.stderr[-3000:]


@pytest.mark.parametrize(
    ("layer", "bears"),
    [
        (nn.Conv2d(3, 16, 1, 2), False),
        (nn.Conv2d(15, 16, 1, (1, 2)), False),
        (nn.Conv2d(16, 32, 1, 2), True),
        (nn.Conv2d(3, 16, 1), True),
        (nn.Conv2d(3, 16, 3, 2, 1), True),
    ],
)
def test_only_few_channels_and_a_stride_forbid_channels_last(layer, bears):
    assert bears_channels_last(nn.Sequential(nn.Sequential(layer), nn.ReLU())) is bears
