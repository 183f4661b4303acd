"""Optimises a trained network for inference without changing its results.

Batch normalisation is folded into the preceding convolution; on x86 CPUs, a convolution, the addition of a shortcut and
the following ReLU or ReLU6 become one oneDNN call, which saves memory bandwidth. The graph is traced by ``torch.fx``; a
module that cannot be traced is left unchanged and its children are tried.
"""

from __future__ import annotations

import operator
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cytotome._torch import has_onednn, onednn_convolution
from cytotome.nets.depthwise import DepthwiseConv2d, pads_same

ADDITIONS = (operator.add, operator.iadd, torch.add)
RECTIFIERS = (functional.relu, torch.relu, functional.relu_, torch.relu_)
Rectifier: TypeAlias = Literal["none", "relu", "relu6"]


class FusedConvolution(nn.Module):
    """Convolution, optional addition of a second input and optional activation, as one oneDNN call.

    Args:
        convolution: provides the weights; it must use zero padding.
        rectifier: ``none``, ``relu`` or, only without a second input, ``relu6``.
    """

    def __init__(self, convolution: nn.Conv2d, rectifier: Rectifier) -> None:
        super().__init__()
        assert not isinstance(convolution.padding, str)
        self.weight = convolution.weight
        self.bias = convolution.bias
        self.padding, self.stride = convolution.padding, convolution.stride
        self.dilation, self.groups = convolution.dilation, convolution.groups
        self.rectifier = rectifier

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Maps ``(B, C', H', W')`` to ``(B, C, H, W)``, like the modules that it replaces."""
        geometry = (self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups)
        if other is None:
            if self.rectifier == "relu6":
                return onednn_convolution(x, geometry, "hardtanh", (0.0, 6.0))
            return onednn_convolution(x, geometry, self.rectifier)
        rectifier = "relu" if self.rectifier == "relu" else "none"
        if other.shape == self._output_shape(x):
            return onednn_convolution(x, geometry, rectifier, other=other)
        total = onednn_convolution(x, geometry, "none") + other  # a shortcut that is broadcast
        return functional.relu(total) if rectifier == "relu" else total

    def _output_shape(self, x: Tensor) -> tuple[int, ...]:
        sides = (
            (x.shape[2 + axis] + 2 * self.padding[axis] - self.dilation[axis] * (self.weight.shape[2 + axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        )
        return (x.shape[0], self.weight.shape[0], *sides)


def can_fuse_activations(device: torch.device) -> bool:
    """Whether the oneDNN calls of :class:`FusedConvolution` are available."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return device.type == "cpu" and x86 and has_onednn()


def optimise(net: nn.Module, *, fuse_activations: bool) -> nn.Module:
    """Returns a network with the same outputs, for inference only; ``net`` must be in evaluation mode and is modified.

    Args:
        net: gets tensors in channels_last memory format if activations are fused.
        fuse_activations: also replace convolutions by :class:`FusedConvolution`.
    """
    if next(net.children(), None) is None:
        return net
    _part_layers(net)
    try:
        graph = fx.GraphModule(net, _Tracer().trace(net), type(net).__name__)
    except Exception:  # any error of its forward on proxies: control flow, assertions, types
        for name, child in list(net.named_children()):
            net.add_module(name, optimise(child, fuse_activations=fuse_activations))
        return net
    for name, value in vars(net).items():  # tracing only keeps modules and tensors
        if not name.startswith("_") and name not in vars(graph):
            setattr(graph, name, value)
    _fold_batch_norm(graph)
    if fuse_activations:
        _fuse_activations(graph)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def _part_layers(net: nn.Module) -> None:
    """Replaces timm's normalisation with activation, and :class:`DepthwiseConv2d`, by plain layers."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and type(child).__name__ == "BatchNormAct2d":
                norm = nn.BatchNorm2d(child.num_features, child.eps, affine=child.affine).eval()
                norm.load_state_dict(child.state_dict(), strict=False)
                module.add_module(name, nn.Sequential(norm, *child.children()))
            elif isinstance(child, nn.Conv2d) and (isinstance(child, DepthwiseConv2d) or pads_same(child)):
                module.add_module(name, _plain(child))


def _plain(layer: nn.Conv2d) -> nn.Conv2d:
    """Returns an ordinary convolution that is equivalent for maps with even sides.

    TensorFlow pads a convolution that halves such a map only at the bottom and right; with a row and a column of zeros
    added to the top and left of its weights, the padding becomes symmetric.
    """
    kernel, padding, weight = layer.kernel_size, layer.padding, layer.weight
    if pads_same(layer):
        if layer.stride != (2, 2) or layer.dilation != (1, 1) or not all(side % 2 for side in kernel):
            return layer
        padding = tuple(side // 2 for side in kernel)
        kernel = tuple(side + 1 for side in kernel)
        weight = nn.Parameter(functional.pad(weight, (1, 0, 1, 0)), requires_grad=False)
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        cast("tuple[int, int]", kernel),
        cast("tuple[int, int]", layer.stride),
        cast("tuple[int, int]", padding),
        cast("tuple[int, int]", layer.dilation),
        layer.groups,
        bias=layer.bias is not None,
    )
    plain.weight, plain.bias = weight, layer.bias
    return plain.train(layer.training)


class _Tracer(fx.Tracer):
    """Tracer that also follows loops over the parts of a split with constant sizes."""

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        node = obj.node
        if node.target in ("split", torch.split) and len(node.args) > 1 and isinstance(node.args[1], list | tuple):
            parts = range(len(node.args[1]))
            return iter([self.create_proxy("call_function", operator.getitem, (obj, part), {}) for part in parts])
        return super().iter(obj)


def _fold_batch_norm(graph: fx.GraphModule) -> None:
    modules = dict(graph.named_modules())
    uses = Counter(node.target for node in graph.graph.nodes if node.op == "call_module")
    for node in list(graph.graph.nodes):
        before = node.args[0] if _is_module(node, modules, nn.BatchNorm2d) else None
        if not isinstance(before, fx.Node) or not _is_module(before, modules, nn.Conv2d):
            continue
        if len(before.users) > 1 or uses[before.target] > 1 or uses[node.target] > 1:
            continue
        norm = modules[node.target]
        if norm.running_mean is None:
            continue
        folded = fuse_conv_bn_eval(modules[str(before.target)], norm)
        graph.set_submodule(str(before.target), folded)
        modules[str(before.target)] = folded
        node.replace_all_uses_with(before)
        graph.graph.erase_node(node)


def _fuse_activations(graph: fx.GraphModule) -> None:
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if _is_module(node, modules, nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    for node in list(graph.graph.nodes):
        if not _is_module(node, modules, nn.Conv2d) or not _is_plain(modules[node.target]):
            continue
        last, inputs = node, [node.args[0]]
        addition = _only_user(last)
        if addition is not None and _adds_to(addition, node):
            last = addition
            inputs += [arg for arg in addition.args if arg is not node]
        following = _only_user(last)
        rectifier = "none" if following is None else _rectifier(following, modules)
        if following is not None and (rectifier == "relu" or (rectifier == "relu6" and last is node)):
            last = following
        else:
            rectifier = "none"
        name = f"fused_{node.name}"
        modules[name] = FusedConvolution(modules[node.target], rectifier)
        graph.add_submodule(name, modules[name])
        with graph.graph.inserting_before(last):
            fused = graph.graph.call_module(name, tuple(inputs))
        last.replace_all_uses_with(fused)
        graph.graph.eliminate_dead_code()


def _is_plain(convolution: nn.Conv2d) -> bool:
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def _is_module(node: object, modules: Mapping[str, nn.Module], kind: type[nn.Module]) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_module" and isinstance(modules[str(node.target)], kind)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _adds_to(node: fx.Node, convolution: fx.Node) -> bool:
    """Whether ``node`` is the sum of the convolution and another tensor, and modifies no other tensor in place."""
    if node.op != "call_function" or node.target not in ADDITIONS or node.kwargs or len(node.args) != 2:
        return False
    first, second = node.args
    if not (isinstance(first, fx.Node) and isinstance(second, fx.Node)) or first is second:
        return False
    return node.target is not operator.iadd or first is convolution


def _rectifier(node: fx.Node, modules: Mapping[str, nn.Module]) -> Rectifier:
    if _is_module(node, modules, nn.ReLU6):
        return "relu6"
    named = node.op == "call_method" and node.target in ("relu", "relu_")
    called = node.op == "call_function" and node.target in RECTIFIERS
    return "relu" if named or called or _is_module(node, modules, nn.ReLU) else "none"
