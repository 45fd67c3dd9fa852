"""What an exported file says of itself."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from leannet.early_exit import ExitPolicy
from leannet.measure import count_macs, count_parameters
from leannet.models import count_exit_macs, model_title, read_model_config
from leannet.training import SavedNetwork
from leannet_runtime.files import runs_folder
from leannet_runtime.version import __version__

__all__ = ["describe", "measured_accuracy", "metadata_props"]

FORMAT = 1


def describe(
    network: SavedNetwork, preprocess: str, proof: dict[str, Any] | None, policy: ExitPolicy | None = None
) -> dict[str, Any]:
    """Return the JSON object under the key ``leannet``, by which predict and serve know how to use the file.

    Args:
        network: What is exported.
        preprocess: "inside" or "outside".
        proof: Its record; None as long as there is none.
        policy: By which images leave the file early.
    """
    size = network.preprocessing.img_size
    return {
        "format": FORMAT,
        "architecture": network.architecture,
        "model_args": read_model_config(network.folder).get("model_args") or {},
        "num_classes": network.num_classes,
        "label_names": None if network.class_names is None else list(network.class_names),
        "preprocess": preprocess,
        "preprocessing": network.preprocessing.to_pretrained_cfg(),
        "weights_sha256": network.weights_sha256,
        "macs": count_macs(network.model, torch.zeros(1, 3, size, size)).total,
        "parameters": count_parameters(network.model),
        "accuracy": measured_accuracy(network, policy),
        "early_exit": None if policy is None else policy.as_config(),
        # Up to each exit, with the heads on the way and all gates open.
        "exit_macs": None if policy is None else list(count_exit_macs(network.model, size).open),
        "int8": None,
        "proof": proof,
    }


def metadata_props(description: dict[str, Any]) -> dict[str, str]:
    """Return all entries: Ultralytics' names where the meaning is the same, so that its readers find them.

    Args:
        description: See `describe`.
    """
    classes = description["num_classes"]
    names = description["label_names"] or [str(label) for label in range(classes)]
    size = description["preprocessing"]["input_size"][1:]
    return {
        "description": f"{model_title(description)}, a classifier of images into {classes} classes",
        "author": "leannet",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": __version__,
        "license": "leannet: Apache-2.0; the weights: as their owner says",
        "task": "classify",
        "imgsz": str(list(size)),
        "names": str(dict(enumerate(names))),
        "channels": "3",
        "leannet": json.dumps(description, ensure_ascii=False, allow_nan=False),
    }


def measured_accuracy(network: SavedNetwork, policy: ExitPolicy | None = None) -> dict[str, Any] | None:
    """Return the accuracy that was measured with just these weights, None if nobody did.

    An evaluation below ``runs/evaluate`` comes first, the newest of several; then the end of the training, which judged
    the network in ``best``, at its last exit. An evaluation with another policy of exits than the file's is none of the
    answers of this file.

    Args:
        network: What is exported.
        policy: By which images leave the file early.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    wanted = None if policy is None else policy.as_config()
    for path in runs_folder("evaluate").glob("*/results.json"):
        results = _read(path)
        try:
            same = results["model"]["weights_sha256"] == network.weights_sha256
            early = (results.get("early_exit") or {}).get("policy")
            of_size = results["model"]["preprocessing"] == network.preprocessing.to_pretrained_cfg()
            if same and of_size and early == wanted:
                data = results["data"]
                entry = _entry(results["figures"]["top1"], data["split"], data["name"], data["images"])
                found.append((path.stat().st_mtime, entry))
        except (KeyError, TypeError, AttributeError, OSError):
            continue
    if found:
        return max(found, key=lambda each: each[0])[1]
    folder = network.folder.expanduser().resolve()
    results = _read(folder.parent / "results.json") if folder.name == "best" and policy is None else {}
    for split in ("test", "validation"):
        try:
            return _entry(results[split]["top1"], split, results["data"], results[split]["total"])
        except (KeyError, TypeError):
            continue
    return None


def _entry(top1: dict[str, Any], split: str, data: str, images: int) -> dict[str, Any]:
    figures = {name: float(top1[name]) for name in ("value", "low", "high")}
    return {**figures, "split": split, "data": Path(data).name, "images": int(images)}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
