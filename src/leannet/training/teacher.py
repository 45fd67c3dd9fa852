"""A trained network to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leannet.models import create_network, is_model_folder
from leannet.training.network import label_names
from leannet_runtime import UserError
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["Teacher", "load_teacher"]


@dataclass
class Teacher:
    """A network that is asked but does not learn.

    Args:
        network: Gives logits; in evaluation mode.
        scale: What turns an image normalised for the learner into one normalised for the teacher, with `shift`;
            shape ``(1, 3, 1, 1)``.
        shift: See `scale`.
        order: For each class of the learner, which logit of the teacher it is; None if they agree.
    """

    network: nn.Module
    scale: Tensor
    shift: Tensor
    order: Tensor | None

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits, float32 of shape ``(B, num_classes)``, in the order of the learner's classes."""
        with torch.no_grad():
            logits = self.network(images * self.scale + self.shift).float()
        return logits if self.order is None else logits[:, self.order]


def load_teacher(
    name: str, class_names: tuple[str, ...], preprocessing: Preprocessing, device: torch.device
) -> Teacher:
    """Load a teacher.

    Args:
        name: A model folder, whose classes are matched by name, or the timm name of a network with published weights.
        class_names: Classes of the learner.
        preprocessing: Of the learner; the teacher sees the same images, normalised as it wants them.
        device: Where it runs.

    Raises:
        UserError: It has other classes.
    """
    folder = is_model_folder(name)
    try:
        network = create_network(name, img_size=None if folder else preprocessing.img_size, pretrained=not folder)
    except (OSError, RuntimeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot learn from {name}", why, "Give the model folder of a trained network") from error
    known = label_names(name) if folder else None
    count = int(getattr(network, "num_classes", 0))
    if (known is None and count != len(class_names)) or (known is not None and set(known) != set(class_names)):
        has = f"it has {', '.join(known[:5])}{' ...' if len(known) > 5 else ''}" if known else f"it has {count} classes"
        raise UserError(
            f"cannot learn from {name}",
            f"its classes are not those of the data ({has})",
            "Give a teacher that was trained on the same classes",
        )
    order = None
    if known is not None and known != class_names:
        order = torch.tensor([known.index(label) for label in class_names], device=device)
    own = Preprocessing.from_pretrained_cfg(network.pretrained_cfg)  # type: ignore[arg-type]
    mean, std, own_mean, own_std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std, own.mean, own.std)
    )
    network.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(network, std / own_std, (mean - own_mean) / own_std, order)
