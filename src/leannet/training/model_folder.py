"""The model folder: what training writes and everything else reads, in timm's and the Hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from timm.models._hub import save_config_for_hf
from torch import nn

from leannet_runtime.files import make_folder, write_file
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["save_model_folder"]


def save_model_folder(
    model: nn.Module, folder: Path, class_names: tuple[str, ...], preprocessing: Preprocessing
) -> None:
    """Write ``config.json`` and ``model.safetensors``.

    ``timm.create_model(f"local-dir:{folder}", pretrained=True)`` gives the network back, with the same outputs, once
    leannet is imported. The weights are replaced last: a folder with weights is a whole one.

    Args:
        model: A network from `leannet.create_network` or `timm.create_model`.
        folder: Where; made if it is not there.
        class_names: Names of the classes, by label.
        preprocessing: How images become its input.

    Raises:
        UserError: The folder cannot be written.
    """
    make_folder(folder)
    channels = int(getattr(model, "in_chans", 3))
    input_size = (channels, preprocessing.img_size, preprocessing.img_size)
    data_config: dict[str, Any] = {**preprocessing.to_pretrained_cfg(), "input_size": input_size}

    def write_config(path: Path) -> None:
        save_config_for_hf(model, str(path), model_config={"label_names": list(class_names)}, data_config=data_config)

    write_file(folder / "config.json", write_config)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_file(folder / "model.safetensors", lambda path: save_file(weights, path))
