"""Model folders of a small network that has looked at the tiny images for a moment, and what it truly answers."""

import csv
import json

import numpy as np
import timm
import torch
from command_line import SMALLEST, TREES
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision import transforms

from leannet.models import create_network
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing, decode_image

SIZE = 16


def make_model_folder(folder, trees, classes=TREES, *, seed=0, steps=6, size=SIZE, network=SMALLEST):
    """Train for a few steps on the training part of `trees`, and save with the classes in the given order."""
    torch.manual_seed(seed)
    preprocessing = Preprocessing(size, crop_pct=1.0)
    model = create_network(network, num_classes=len(classes), img_size=size)
    files = [(path, label) for label, name in enumerate(classes) for path in sorted((trees / "train" / name).iterdir())]
    pixels = np.stack([preprocessing.pixels(decode_image(path)) for path, _ in files])
    images, labels = torch.from_numpy(preprocessing.normalise(pixels)), torch.tensor([label for _, label in files])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # so few steps would leave the statistics far behind
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
    save_model_folder(model, folder, tuple(classes), preprocessing)
    return folder


def truth_of(folder, trees, part="test"):
    """Ask the network with timm and torchvision alone: names of files, labels, and probabilities in TREES' order."""
    config = json.loads((folder / "config.json").read_text())
    described = config["pretrained_cfg"]
    prepare = transforms.Compose(
        [
            transforms.Resize(described["input_size"][1:], transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(described["mean"], described["std"]),
        ]
    )
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    files = [path for name in TREES for path in sorted((trees / part / name).iterdir())]
    with torch.inference_mode():
        logits = model(torch.stack([prepare(Image.open(path).convert("RGB")) for path in files]))
    order = [config["label_names"].index(name) for name in TREES]
    labels = np.array([TREES.index(path.parent.name) for path in files])
    return [f"{part}/{p.parent.name}/{p.name}" for p in files], labels, logits[:, order].double().softmax(dim=1).numpy()


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
