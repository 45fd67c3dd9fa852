"""Every network of leannet as a graph: TorchScript and torch.export answer as the network does."""

import pytest
import torch
from registered_networks import every_network, has_fixed_size, images, network, one_per_family

# One of each family: a graph takes more than a second, and the networks of a family are built of the same blocks. The
# second reading of the CSE paper has a projection of its own.
FAMILIES = [*one_per_family(), "mobilenetv2_cse_literal"]
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")


@pytest.mark.parametrize("name", FAMILIES)
def test_torchscript_answers_equally(name, tmp_path):
    scripted = torch.jit.script(network(name))
    torch.jit.save(scripted, tmp_path / "network.pt")
    loaded = torch.jit.load(tmp_path / "network.pt")
    for batch in (images(name), images(name, batch=3, seed=2)):
        torch.testing.assert_close(loaded(batch), network(name)(batch))


@pytest.mark.parametrize("name", FAMILIES)
def test_an_exported_program_answers_equally_for_any_batch_and_size(name):
    batch_size, rows = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("rows", min=1, max=9)
    shape = {0: batch_size} if has_fixed_size(name) else {0: batch_size, 2: 32 * rows, 3: 32 * rows}
    small = images(name, batch=3, seed=2)
    large = torch.cat([torch.cat([small, small], dim=2)] * 2, dim=3)  # twice as high and wide
    example = small if has_fixed_size(name) else large
    program = torch.export.export(network(name), (example,), dynamic_shapes=(shape,)).module()
    for batch in (small, small[:1], *([] if has_fixed_size(name) else [large[:2]])):
        torch.testing.assert_close(program(batch), network(name)(batch))


@every_network
def test_channels_last_answers_equally(name):
    batch = images(name).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(name)(batch), network(name)(images(name)), rtol=1e-4, atol=1e-4)
