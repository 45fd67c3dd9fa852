"""The network of a file that images leave early: one ONNX graph whose later stages run only for those who stay.

Each stage leads from an exit to the next. It is exported by itself, together with the rule that decides who leaves
(`leannet.early_exit.policy.Decision`, by which images leave in PyTorch). The stages are then put into each other::

    features, answers, leave = stage 0 (images)
    if anybody stays:
        features of those who stay -> features, answers, leave = stage 1 ...
        their answers take the place of those of stage 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from leannet.deploy.formats.network_graph import EXAMPLES, OUTPUTS, module_graph
from leannet.early_exit import ExitPolicy
from leannet.early_exit.policy import Decision
from leannet.measure import evaluation_mode
from leannet.models import MultiExit

__all__ = ["EXIT_OUTPUTS", "ExitStage", "exits_graph"]

EXIT_OUTPUTS = (*OUTPUTS, "exit")
"""The softmax of the logits is the probabilities: see `ExitStage`. Exits are numbered from 1."""


class ExitStage(nn.Module):
    """The way from an exit to the next, and who leaves there.

    The logits are those of the exit, divided by its temperature. Where all exits together answer at the end, they are
    the logarithm of the mean of their probabilities. So their softmax is always the probabilities.

    Args:
        network: With exits, in evaluation mode.
        policy: By which images leave.
        index: Of the exit, from 0.

    Shape: images, or what the stage before `kept`, each ``(N, ...)`` -> logits and probabilities, ``(N, num_classes)``;
    of all stages but the last also who leaves, bool ``(N,)``, and what is `kept`.
    """

    def __init__(self, network: MultiExit, policy: ExitPolicy, index: int) -> None:
        super().__init__()
        self.network = network
        self.policy = policy
        self.index = index
        self.last = index + 1 == network.num_exits
        self.eval()

    @property
    def kept(self) -> tuple[str, ...]:
        """What the stage after this one takes: the features, and fields of `Decision`."""
        if self.last:
            return ()
        total = ("total",) if self.policy.ensemble else ()
        # The last stage lets everybody leave, whoever agrees.
        agreeing = self.policy.rule == "patience" and self.index + 2 < self.network.num_exits
        return ("features", *total, *(("labels", "streak") if agreeing else ()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns."""
        answers = ("logits", "probabilities") if self.last else ("logits", "probabilities", "leave")
        return tuple(f"exit_{name}" for name in (*answers, *self.kept))

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Go on to the exit and decide."""
        before = ExitStage(self.network, self.policy, self.index - 1).kept[1:] if self.index else ()
        known = dict(zip(before, state, strict=True))
        decision = Decision(self.policy, self.network.num_exits, self.index, **known)
        x = self.network.run_segment(self.index, x)
        logits = self.network.exit_logits(self.index, x)
        probabilities, leave = decision.step(logits)
        if self.last and self.policy.ensemble:
            answer = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
        else:
            answer = logits / self.policy.temperatures[self.index] if self.policy.temperatures else logits
        if self.last:
            return answer, probabilities
        return answer, probabilities, leave, x, *(getattr(decision, name) for name in self.kept[1:])


def exits_graph(
    network: nn.Module, policy: ExitPolicy, img_size: int, opset: int, input_name: str, name: str
) -> onnx.ModelProto:
    """Make the ONNX graph of a network with exits and its policy, for any number of images.

    Args:
        network: With exits, on the CPU; it is left in the mode in which it was.
        policy: By which images leave; it fits the network.
        img_size: Side of the images in pixels.
        opset: Version of ONNX's operators.
        input_name: Name of the input, float32 ``(batch, 3, img_size, img_size)``.
        name: What errors call the network.

    Returns:
        A model with the `EXIT_OUTPUTS`: what `leannet.early_exit.StagedClassifier` answers.

    Raises:
        UserError: PyTorch cannot export this network.
    """
    assert isinstance(network, MultiExit)
    pieces: list[onnx.ModelProto] = []
    given: tuple[str, ...] = (input_name,)
    examples: tuple[Tensor, ...] = (torch.zeros(EXAMPLES, 3, img_size, img_size),)
    with evaluation_mode(network), torch.no_grad():
        for index in range(network.num_exits):
            stage = ExitStage(network, policy, index)
            piece = module_graph(stage, examples, opset, given, stage.outputs, name)
            # Sizes are told again by whoever runs the graph: each branch has a batch of its own, and all say "batch".
            del piece.graph.value_info[:]
            # The first one keeps its names: its input is that of the whole graph.
            pieces.append(onnx.compose.add_prefix(piece, _prefix(index)) if index else piece)
            given, examples = stage.kept, stage(*examples)[len(stage.outputs) - len(stage.kept) :]
    first = pieces[0].graph
    nodes, weights = _stages([piece.graph for piece in pieces], 0, EXIT_OUTPUTS)
    classes = first.output[0].type.tensor_type.shape.dim[1].dim_value
    answers = [helper.make_tensor_value_info(each, TensorProto.FLOAT, ["batch", classes]) for each in OUTPUTS]
    answers.append(helper.make_tensor_value_info(EXIT_OUTPUTS[2], TensorProto.INT64, ["batch"]))
    graph = helper.make_graph(nodes, name, list(first.input), answers, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=pieces[0].ir_version)


def _prefix(index: int) -> str:
    return f"exit{index + 1}/"


def _stages(
    pieces: Sequence[onnx.GraphProto], index: int, outputs: Sequence[str]
) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
    """Return the nodes of a stage and of all after it, and the weights of this one; they answer with these outputs."""
    piece, prefix = pieces[index], _prefix(index)
    logits, probabilities, *rest = (each.name for each in piece.output)
    answers = (logits, probabilities, prefix + "number")
    number = numpy_helper.from_array(np.array([index + 1], np.int64))
    nodes = [
        *piece.node,
        _node("Shape", [logits], prefix + "count", end=1),
        _node("ConstantOfShape", [prefix + "count"], answers[2], value=number),
    ]
    if index + 1 == len(pieces):
        return [*nodes, *map(_same, answers, outputs)], list(piece.initializer)
    leave, *kept = rest
    rows = prefix + "rows"  # of those who stay, (M, 1)
    nodes += [
        _node("Not", [leave], prefix + "stay"),
        _node("NonZero", [prefix + "stay"], prefix + "columns"),
        _node("Transpose", [prefix + "columns"], rows),
        _node("Size", [rows], prefix + "left"),
        _node("Cast", [prefix + "left"], prefix + "any_left", to=TensorProto.BOOL),
    ]
    inputs = [each.name for each in pieces[index + 1].input]
    gathered = [_node("GatherND", [old, rows], new) for old, new in zip(kept, inputs, strict=True)]
    later = [prefix + f"later_{name}" for name in EXIT_OUTPUTS]
    further, weights = _stages(pieces, index + 1, later)
    merged, same = ([prefix + f"{how}_{name}" for name in EXIT_OUTPUTS] for how in ("merged", "same"))
    triples = zip(answers, later, merged, strict=True)
    scattered = [_node("ScatterND", [old, rows, new], name) for old, new, name in triples]
    choice = helper.make_node(
        "If",
        [prefix + "any_left"],
        list(outputs),
        prefix + "if",
        then_branch=_branch([*gathered, *further, *scattered], merged, weights),
        else_branch=_branch(list(map(_same, answers, same)), same, []),
    )
    return [*nodes, choice], list(piece.initializer)


def _branch(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], weights: Sequence[TensorProto]) -> onnx.GraphProto:
    """Make what an If runs. Its weights lie in it, where runtimes look when they bring them into their own form."""
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64)
    answers = [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, kinds, strict=True)]
    return helper.make_graph(nodes, "stage", [], answers, weights)


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], output, **attributes)


def _same(name: str, output: str) -> onnx.NodeProto:
    return _node("Identity", [name], output)
