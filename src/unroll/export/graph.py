"""An ONNX graph under construction, put together from exported programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18
Types = Mapping[str, int]
"""Element type of each value by its name."""


class Graph:
    """Nodes and weights of a graph; equal weights are stored once, in the outermost graph."""

    def __init__(self, outer: "Graph | None" = None) -> None:
        self._nodes: list[NodeProto] = []
        self._weights: dict[tuple[int, tuple[int, ...], bytes], str] = {} if outer is None else outer._weights
        self._initializers: list[TensorProto] = [] if outer is None else outer._initializers

    def add(self, kind: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: Any) -> None:
        """Add a node."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def constant(self, value: float | list[int]) -> str:
        """Return the name of a constant: int64 for an int or a list, float32 for a float."""
        array = torch.tensor(value).numpy()
        return self._weight(numpy_helper.from_array(array), f"constant_{array.dtype}_{value}")

    def inline(self, program: ModelProto, prefix: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Add a program's nodes, with its inputs and outputs under names of this graph."""
        graph = program.graph
        names = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
        names |= {tensor.name: self._weight(tensor, f"{prefix}/{tensor.name}") for tensor in graph.initializer}
        wanted = {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
        for node in graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}/{node.name}"
            _rename_inputs(copy, names)
            for name in node.output:
                names[name] = wanted.get(name, f"{prefix}/{name}") if name else ""
            copy.output[:] = [names[name] for name in copy.output]
            self._nodes.append(copy)
        # An output may be an unchanged input, or occur twice: each gets a node of its own.
        for value, name in zip(graph.output, outputs, strict=True):
            if names[value.name] != name:
                self.add("Identity", [names[value.name]], name)

    def loop(
        self, body: GraphProto, trips: str, initial: Sequence[str], outputs: Sequence[str], condition: str = ""
    ) -> None:
        """Add a loop, of so many trips at most: initial values → the last ones, then those of each trip, stacked."""
        self.add("Loop", [trips, condition, *initial], outputs, body=body)

    def body(self, name: str, inputs: Types, outputs: Types) -> GraphProto:
        """Return this graph as the body of a loop; shapes stay open, since they may change from trip to trip.

        Args:
            name: Name of the graph; `NAME/trip` is the number of the trip.
            inputs: What is carried from trip to trip.
            outputs: First whether to go on, then what is carried, then what is stacked.
        """
        entries = [
            helper.make_tensor_value_info(f"{name}/trip", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{name}/went_on", TensorProto.BOOL, []),
            *(helper.make_tensor_value_info(key, kind, None) for key, kind in inputs.items()),
        ]
        return helper.make_graph(
            self._nodes, name, entries, [helper.make_tensor_value_info(*one, None) for one in outputs.items()]
        )

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """Return the finished model."""
        graph = helper.make_graph(self._nodes, "generator", inputs, outputs, self._initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    def _weight(self, tensor: TensorProto, name: str) -> str:
        """Return the name under which an equal weight is stored; `name` for the first one."""
        array = numpy_helper.to_array(tensor)
        key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
        if key not in self._weights:
            self._weights[key] = name
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._weights[key]


def _rename_inputs(node: NodeProto, names: Mapping[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            _rename_inputs(inner, names)
