"""How long processes wait for each other, by what torch itself says of their group."""

import subprocess
import sys

import pytest

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
