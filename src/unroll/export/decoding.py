"""A generator as one graph: reading, and the whole loop of writing, in one `session.run`.

The start and one step are exported as they are in torch; here they are put together. The step becomes the body of an
ONNX `Loop`, whose inputs are the hypotheses and states, and which sees weights and memory from outside. Greedy
decoding, a search and drawing have a loop each, one after the other. The inputs say which of them runs; the others have
no trips and hand on what they got.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor, nn

from unroll.domains.task import Task
from unroll.export.onnx import to_program, write_model
from unroll.models.decoding import BeamStep, GreedyStep, SampleStep, Start
from unroll.models.generators import Generator

OPSET = 18
_CARRIED = ("last", "total", "length", "finished", "written")


def export_generator(
    network: Generator, task: Task, example: Tensor, lengths: Tensor | None, path: Path, *, draws: bool
) -> None:
    """Writes a generator as ONNX, with batch, time, beams and steps left free.

    Args:
        network: In evaluation mode.
        task: Names the input.
        example: Raw inputs [batch, time, …], traced once; two rows or more.
        lengths: int64 [batch] of the example; None where the graph is to take none.
        path: Where the file goes.
        draws: Whether tokens can be drawn, too: the graph then takes `temperature`, `top_k` and `uniforms`.
    """
    programs = step_programs(network, example, lengths, draws=draws)
    graph = _Graph()
    # The names of the start's outputs: hypotheses, states, memory.
    state_count, memory_count = _counts(network, example, lengths)
    names = [*_CARRIED, *(f"state_{i}" for i in range(state_count)), *(f"memory_{i}" for i in range(memory_count))]
    carried, memory = names[: len(_CARRIED) + state_count], names[len(_CARRIED) + state_count :]

    graph.add("Range", [graph.constant(0), "beams", graph.constant(1)], ["ranks"])
    entries = [task.inputs.name, *(["lengths"] if lengths is not None else []), "ranks"]
    graph.inline(programs.start, "start", entries, names)
    trips, nothing = "max_length", graph.constant(0)
    if draws:
        # In a search the first hypothesis alone counts at the start; every drawn sequence does.
        graph.add("Greater", ["temperature", graph.constant(0.0)], ["draws"])
        graph.add("Mul", ["total", graph.constant(0.0)], ["no_total"])
        graph.add("Where", ["draws", "no_total", "total"], ["first_total"])
        graph.add("Where", ["draws", nothing, "max_length"], ["searched"])
        graph.add("Sub", ["max_length", "searched"], ["draw_trips"])
        trips, carried = "searched", ["first_total" if name == "total" else name for name in carried]
    graph.add("Equal", ["beams", graph.constant(1)], ["alone"])
    graph.add("Where", ["alone", trips, nothing], ["greedy_trips"])
    graph.add("Sub", [trips, "greedy_trips"], ["search_trips"])
    carried = graph.loop(programs.greedy, "greedy", carried, memory)
    carried = graph.loop(programs.search, "search", carried, [*memory, "length_penalty"])
    if programs.draw:
        given = [*memory, "temperature", "top_k", "uniforms"]
        carried = graph.loop(programs.draw, "draw", carried, given, by_step="uniforms")
    found = dict(zip(_CARRIED, carried, strict=False))
    graph.add("Identity", [found["written"]], ["tokens"])
    graph.add("Max", [found["length"], graph.constant(1)], ["least_one"])
    graph.add("Cast", ["least_one"], ["float_length"], to=TensorProto.FLOAT)
    graph.add("Pow", ["float_length", "length_penalty"], ["divisor"])
    graph.add("Div", [found["total"], "divisor"], ["scores"])
    write_model(graph.model(_inputs(task, example, lengths, draws), _outputs()), path)


class Programs(NamedTuple):
    """The start, and one step of each way to go on, each as a graph of its own."""

    start: ModelProto
    greedy: ModelProto
    search: ModelProto
    draw: ModelProto | None


def step_programs(network: Generator, example: Tensor, lengths: Tensor | None, *, draws: bool) -> Programs:
    """The start of a generator and its steps as graphs; a step that draws where that is wanted."""
    free = torch.export.Dim
    batch, time, beam, step = free("batch"), free("time"), free("beam"), free("step")
    with torch.inference_mode():
        ranks = torch.arange(3)
        hypotheses, state, memory = Start(network)(example, lengths, ranks)
        # Two steps on: no axis of the example may have the size 0 or 1, which the exporter takes for a fixed one.
        for _ in range(2):
            hypotheses, state = BeamStep(network)(hypotheses, state, memory, torch.tensor(1.0))
    hypotheses = tuple(part.clone() for part in hypotheses)
    state, memory = tuple(part.clone() for part in state), tuple(part.clone() for part in memory)
    both = {0: batch, 1: beam}
    of_hypotheses = (both, both, both, both, {**both, 2: step})
    of_state, of_memory = tuple(both for _ in state), tuple({0: batch, 1: time} for _ in memory)
    varies = {0: batch, 1: time} if lengths is not None else {0: batch}
    start = to_program(
        Start(network).eval(),
        (example, lengths, ranks),
        (varies, None if lengths is None else {0: batch}, {0: beam}),
    )
    values: tuple[Any, ...] = (hypotheses, state)
    shapes: tuple[Any, ...] = (of_hypotheses, of_state)
    if memory:
        values, shapes = (*values, memory), (*shapes, of_memory)
    greedy = to_program(_Step(GreedyStep(network), bool(memory)), values, (shapes,))
    search = to_program(_Step(BeamStep(network), bool(memory)), (*values, torch.tensor(1.0)), ((*shapes, {}),))
    if not draws:
        return Programs(start, greedy, search, None)
    uniform = torch.full(hypotheses[0].shape, 0.5)
    chances = (torch.tensor(1.0), torch.tensor(0), uniform)
    draw = _Step(SampleStep(network), bool(memory))
    return Programs(start, greedy, search, to_program(draw, (*values, *chances), ((*shapes, {}, {}, both),)))


class _Step(nn.Module):
    """A step in evaluation mode, without an argument for memory where there is none, as the exporter wants it."""

    def __init__(self, step: nn.Module, memory: bool) -> None:
        super().__init__()
        self.step, self.memory = step, memory
        self.eval()

    def forward(self, *values: Any) -> Any:
        return self.step(*values) if self.memory else self.step(*values[:2], (), *values[2:])


def _counts(network: Generator, example: Tensor, lengths: Tensor | None) -> tuple[int, int]:
    with torch.inference_mode():
        _, state, memory = network.start(example, lengths, torch.arange(2))
    return len(state), len(memory)


def _inputs(task: Task, example: Tensor, lengths: Tensor | None, draws: bool) -> list[ValueInfoProto]:
    kind = helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
    shape = [size if isinstance(size, int) else str(size) for size in task.inputs.shape]
    found = [helper.make_tensor_value_info(task.inputs.name, kind, shape)]
    if lengths is not None:
        found.append(helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]))
    scalars = {"max_length": TensorProto.INT64, "beams": TensorProto.INT64, "length_penalty": TensorProto.FLOAT}
    if draws:
        scalars |= {"temperature": TensorProto.FLOAT, "top_k": TensorProto.INT64}
    found += [helper.make_tensor_value_info(name, kind, []) for name, kind in scalars.items()]
    if draws:
        found.append(helper.make_tensor_value_info("uniforms", TensorProto.FLOAT, ["batch", "beam", "draw"]))
    return found


def _outputs() -> list[ValueInfoProto]:
    return [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "beam", "step"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "beam"]),
    ]


class _Graph:
    """Nodes and weights of the graph that is being put together. Equal weights are kept once."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._weights: dict[tuple[int, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """One node."""
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def constant(self, value: float) -> str:
        """Name of a scalar: int64 of a whole number, float32 of another."""
        array = torch.tensor(value).numpy()
        return self._weight(numpy_helper.from_array(array), f"constant_{array.dtype}_{value:g}")

    def inline(self, program: ModelProto, prefix: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """A program's nodes, its inputs and outputs under names of this graph."""
        self._nodes += self._renamed(program.graph, prefix, inputs, outputs)

    def loop(
        self,
        program: ModelProto,
        prefix: str,
        begin: Sequence[str],
        outside: Sequence[str],
        by_step: str | None = None,
    ) -> list[str]:
        """A loop over a step, PREFIX_trips times or until all hypotheses are finished.

        Args:
            program: The step: what is carried, then what is not, gives what is carried.
            prefix: Of the body's names.
            begin: What is carried, before the first step.
            outside: What every step sees.
            by_step: The one of `outside` whose last axis has an entry for each step.

        Returns:
            Names of what is carried, after the last step.
        """
        inside = [f"{prefix}/in/{name}" for name in _CARRIED] + [
            f"{prefix}/in/state_{i}" for i in range(len(begin) - len(_CARRIED))
        ]
        after = [name.replace("/in/", "/out/") for name in inside]
        seen = [f"{prefix}/now" if name == by_step else name for name in outside]
        body: list[NodeProto] = []
        if by_step:
            body.append(helper.make_node("Gather", [by_step, f"{prefix}/step"], [f"{prefix}/now"], axis=2))
        body += self._renamed(program.graph, prefix, [*inside, *seen], after)
        body += [
            helper.make_node("Cast", [after[_CARRIED.index("finished")]], [f"{prefix}/done"], to=TensorProto.INT64),
            helper.make_node("ReduceMin", [f"{prefix}/done"], [f"{prefix}/all"], keepdims=0),
            helper.make_node("Cast", [f"{prefix}/all"], [f"{prefix}/ended"], to=TensorProto.BOOL),
            helper.make_node("Not", [f"{prefix}/ended"], [f"{prefix}/goes_on"]),
        ]
        types = [value.type.tensor_type.elem_type for value in program.graph.input[: len(begin)]]
        graph = helper.make_graph(
            body,
            prefix,
            [
                helper.make_tensor_value_info(f"{prefix}/step", TensorProto.INT64, []),
                helper.make_tensor_value_info(f"{prefix}/went_on", TensorProto.BOOL, []),
                # No shapes: the tokens grow with every step.
                *(helper.make_tensor_value_info(name, kind, None) for name, kind in zip(inside, types, strict=True)),
            ],
            [
                helper.make_tensor_value_info(f"{prefix}/goes_on", TensorProto.BOOL, []),
                *(helper.make_tensor_value_info(name, kind, None) for name, kind in zip(after, types, strict=True)),
            ],
        )
        end = [name.replace("/in/", "/") for name in inside]
        self.add("Loop", [f"{prefix}_trips", "", *begin], end, body=graph)
        return end

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """The whole."""
        graph = helper.make_graph(self._nodes, "generator", inputs, outputs, self._initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)

    def _weight(self, tensor: TensorProto, name: str) -> str:
        """Name under which an equal weight is kept; the tensor's own name where it is the first."""
        array = numpy_helper.to_array(tensor)
        key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
        if key not in self._weights:
            self._weights[key] = name
            self._initializers.append(numpy_helper.from_array(array, name))
        return self._weights[key]

    def _renamed(
        self, graph: GraphProto, prefix: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> list[NodeProto]:
        """Copies of a graph's nodes with names of their own."""
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
        # An output may be an input as it is, or stand twice: each gets a node of its own.
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
