"""A generator as one graph: encoding and the whole decoding loop in one `session.run`.

The start and one step are exported as they are in torch; here they are put together. The step becomes the body of an
ONNX `Loop`, which carries hypotheses and state, and captures weights and memory from the outer graph. Greedy decoding,
beam search and sampling have a loop each, one after the other. The inputs determine which of them runs; the others have
no iterations and pass on what they got.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

from unroll.domains.task import Task, TensorSpec
from unroll.export.bundle import graph_inputs
from unroll.export.onnx import to_onnx, write_model
from unroll.models.decoding import BeamStep, GreedyStep, SampleStep, Start
from unroll.models.generators import Generator

OPSET = 18
_HYPOTHESES = ("last", "total", "length", "finished", "written")


def export_generator(
    network: Generator, task: Task, example: Tensor, lengths: Tensor | None, path: Path, *, sampling: bool
) -> None:
    """Write a generator as ONNX, with dynamic batch, time, beams and steps.

    Args:
        network: In evaluation mode.
        task: Names the input.
        example: Raw inputs [batch, time, …] to trace; two rows or more.
        lengths: int64 [batch] of the example; None if the graph takes none.
        path: File to write.
        sampling: Whether the graph can sample, too: it then takes `temperature`, `top_k` and `uniforms`.
    """
    programs = step_programs(network, example, lengths, sampling=sampling)
    graph = _Graph()
    with torch.inference_mode():
        _, state, memory_tensors = network.start(example, lengths, torch.arange(2))
    carried = [*_HYPOTHESES, *(f"state_{i}" for i in range(len(state)))]
    memory = [f"memory_{i}" for i in range(len(memory_tensors))]

    graph.add("Range", [graph.constant(0), "beams", graph.constant(1)], ["ranks"])
    entries = [task.inputs.name, *(["lengths"] if lengths is not None else []), "ranks"]
    graph.inline(programs.start, "start", entries, [*carried, *memory])
    steps, none = "max_length", graph.constant(0)
    if sampling:
        # In a search only the first hypothesis has a score at the start; when sampling, every sequence has.
        graph.add("Greater", ["temperature", graph.constant(0.0)], ["samples"])
        graph.add("Mul", ["total", graph.constant(0.0)], ["zero_total"])
        graph.add("Where", ["samples", "zero_total", "total"], ["first_total"])
        graph.add("Where", ["samples", none, "max_length"], ["search_steps"])
        graph.add("Sub", ["max_length", "search_steps"], ["sample_trips"])
        steps, carried = "search_steps", ["first_total" if name == "total" else name for name in carried]
    graph.add("Equal", ["beams", graph.constant(1)], ["one_beam"])
    graph.add("Where", ["one_beam", steps, none], ["greedy_trips"])
    graph.add("Sub", [steps, "greedy_trips"], ["beam_trips"])
    carried = graph.loop(programs.greedy, "greedy", carried, memory)
    carried = graph.loop(programs.beam, "beam", carried, [*memory, "length_penalty"])
    if programs.sample:
        captured = [*memory, "temperature", "top_k", "uniforms"]
        carried = graph.loop(programs.sample, "sample", carried, captured, per_step="uniforms")
    final = dict(zip(_HYPOTHESES, carried, strict=False))
    graph.add("Identity", [final["written"]], ["tokens"])
    graph.add("Max", [final["length"], graph.constant(1)], ["min_one"])
    graph.add("Cast", ["min_one"], ["float_length"], to=TensorProto.FLOAT)
    graph.add("Pow", ["float_length", "length_penalty"], ["divisor"])
    graph.add("Div", [final["total"], "divisor"], ["scores"])
    inputs = [_value_info(spec) for spec in graph_inputs(task, dynamic_time=True)]
    write_model(graph.model(inputs, [_value_info(spec) for spec in task.outputs]), path)


class Programs(NamedTuple):
    """The start and one step of each way to decode, each as a graph of its own."""

    start: ModelProto
    greedy: ModelProto
    beam: ModelProto
    sample: ModelProto | None


def step_programs(network: Generator, example: Tensor, lengths: Tensor | None, *, sampling: bool) -> Programs:
    """Return the start of a generator and its steps as graphs; the sampling step only if it is wanted."""
    batch, time, beam, step = (torch.export.Dim(name) for name in ("batch", "time", "beam", "step"))
    with torch.inference_mode():
        ranks = torch.arange(3)
        hypotheses, state, memory = Start(network)(example, lengths, ranks)
        # Two steps in: the exporter takes axes of size 0 or 1 for fixed ones.
        for _ in range(2):
            hypotheses, state = BeamStep(network)(hypotheses, state, memory, torch.tensor(1.0))
    hypotheses, state, memory = (tuple(part.clone() for part in parts) for parts in (hypotheses, state, memory))
    both = {0: batch, 1: beam}
    values: tuple[Any, ...] = (hypotheses, state)
    shapes: tuple[Any, ...] = ((both, both, both, both, {**both, 2: step}), tuple(both for _ in state))
    if memory:
        values, shapes = (*values, memory), (*shapes, tuple({0: batch, 1: time} for _ in memory))
    varies = {0: batch, 1: time} if lengths is not None else {0: batch}
    start = to_onnx(
        Start(network).eval(),
        (example, lengths, ranks),
        (varies, None if lengths is None else {0: batch}, {0: beam}),
    )

    def export_step(module: nn.Module, more: tuple[Tensor, ...] = (), more_shapes: tuple[Any, ...] = ()) -> ModelProto:
        return to_onnx(_Step(module, bool(memory)), (*values, *more), ((*shapes, *more_shapes),))

    sample = None
    if sampling:
        uniform = torch.full(hypotheses[0].shape, 0.5)
        sample = export_step(SampleStep(network), (torch.tensor(1.0), torch.tensor(0), uniform), ({}, {}, both))
    return Programs(
        start, export_step(GreedyStep(network)), export_step(BeamStep(network), (torch.tensor(1.0),), ({},)), sample
    )


class _Step(nn.Module):
    """A step in evaluation mode; an empty memory is not an argument, since the exporter cannot handle it."""

    def __init__(self, step: nn.Module, has_memory: bool) -> None:
        super().__init__()
        self.step, self.has_memory = step, has_memory
        self.eval()

    def forward(self, *values: Any) -> Any:
        return self.step(*values) if self.has_memory else self.step(*values[:2], (), *values[2:])


def _value_info(spec: TensorSpec) -> ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
    return helper.make_tensor_value_info(spec.name, kind, list(spec.shape))


class _Graph:
    """Nodes and weights of the graph under construction; equal weights are stored once."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._weights: dict[tuple[int, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def constant(self, value: float) -> str:
        """Return the name of a scalar: int64 for an int, float32 for a float."""
        array = torch.tensor(value).numpy()
        return self._weight(numpy_helper.from_array(array), f"constant_{array.dtype}_{value:g}")

    def inline(self, program: ModelProto, prefix: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Add a program's nodes, with its inputs and outputs under names of this graph."""
        self._nodes += self._renamed(program.graph, prefix, inputs, outputs)

    def loop(
        self,
        program: ModelProto,
        prefix: str,
        initial: Sequence[str],
        captured: Sequence[str],
        per_step: str | None = None,
    ) -> list[str]:
        """Add a loop over a step, of PREFIX_trips iterations or until all hypotheses are finished.

        Args:
            program: The step: (carried values, captured values) → carried values.
            prefix: Prefix of the body's names.
            initial: Carried values before the first step.
            captured: Values of the outer graph that every step sees.
            per_step: The one of `captured` whose last axis has an entry for each step.

        Returns:
            Names of the carried values after the last step.
        """
        before = [f"{prefix}/in/{name}" for name in _HYPOTHESES] + [
            f"{prefix}/in/state_{i}" for i in range(len(initial) - len(_HYPOTHESES))
        ]
        after = [name.replace("/in/", "/out/") for name in before]
        seen = [f"{prefix}/now" if name == per_step else name for name in captured]
        body: list[NodeProto] = []
        if per_step:
            body.append(helper.make_node("Gather", [per_step, f"{prefix}/step"], [f"{prefix}/now"], axis=2))
        body += self._renamed(program.graph, prefix, [*before, *seen], after)
        body += [
            helper.make_node("Cast", [after[_HYPOTHESES.index("finished")]], [f"{prefix}/done"], to=TensorProto.INT64),
            helper.make_node("ReduceMin", [f"{prefix}/done"], [f"{prefix}/all"], keepdims=0),
            helper.make_node("Cast", [f"{prefix}/all"], [f"{prefix}/ended"], to=TensorProto.BOOL),
            helper.make_node("Not", [f"{prefix}/ended"], [f"{prefix}/continue"]),
        ]
        types = [value.type.tensor_type.elem_type for value in program.graph.input[: len(initial)]]
        graph = helper.make_graph(
            body,
            prefix,
            [
                helper.make_tensor_value_info(f"{prefix}/step", TensorProto.INT64, []),
                helper.make_tensor_value_info(f"{prefix}/continued", TensorProto.BOOL, []),
                # No shapes: the tokens grow with every step.
                *(helper.make_tensor_value_info(name, kind, None) for name, kind in zip(before, types, strict=True)),
            ],
            [
                helper.make_tensor_value_info(f"{prefix}/continue", TensorProto.BOOL, []),
                *(helper.make_tensor_value_info(name, kind, None) for name, kind in zip(after, types, strict=True)),
            ],
        )
        final = [name.replace("/in/", "/") for name in before]
        self.add("Loop", [f"{prefix}_trips", "", *initial], final, body=graph)
        return final

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

    def _renamed(
        self, graph: GraphProto, prefix: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> list[NodeProto]:
        names = {value.name: name for value, name in zip(graph.input, inputs, strict=True)}
        names |= {tensor.name: self._weight(tensor, f"{prefix}/{tensor.name}") for tensor in graph.initializer}
        copies = []
        for node in graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}/{node.name}"
            for name in node.output:
                names[name] = f"{prefix}/{name}" if name else ""
            copies.append(copy)
        for copy in copies:
            copy.output[:] = [names[name] for name in copy.output]
            _rename_inputs(copy, names)
        # An output may be an unchanged input, or occur twice: each gets a node of its own.
        copies += [
            helper.make_node("Identity", [names[value.name]], [name])
            for value, name in zip(graph.output, outputs, strict=True)
        ]
        return copies


def _rename_inputs(node: NodeProto, names: dict[str, str]) -> None:
    node.input[:] = [names.get(name, name) for name in node.input]
    for attribute in node.attribute:
        for inner in attribute.g.node:
            _rename_inputs(inner, names)
