"""A generator as one graph: encoding and the whole decoding loop in one `session.run`.

The start and one step are exported as they are in torch; here they are put together. The step becomes the body of an
ONNX `Loop`, which carries what changes, and captures weights and memory from the outer graph. Greedy decoding, beam
search and sampling have a loop each, one after the other. The inputs determine which of them runs; the others have no
iterations and pass on what they got.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper
from torch import Tensor, nn

from unroll.domains.task import Task, TensorSpec
from unroll.export.bundle import graph_inputs
from unroll.export.graph import Graph
from unroll.export.onnx import to_onnx, write_model
from unroll.features.special_tokens import EOS
from unroll.models.decoding import BeamStep, GreedyEnd, GreedyStep, SampleStep, Start
from unroll.models.generators import Generator

_HYPOTHESES = {
    "last": TensorProto.INT64,
    "total": TensorProto.FLOAT,
    "length": TensorProto.INT64,
    "finished": TensorProto.BOOL,
    "written": TensorProto.INT64,
}
_STEPS_BETWEEN_DROPS = 4
"""Greedy decoding drops the rows that have ended after so many steps each."""


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
    graph = Graph()
    with torch.inference_mode():
        _, state, memory_tensors = network.start(example, lengths, torch.arange(2))
    states = [f"state_{i}" for i in range(len(state))]
    carried = [*_HYPOTHESES, *states]
    memory = [f"memory_{i}" for i in range(len(memory_tensors))]

    graph.add("Range", [graph.constant(0), "beams", graph.constant(1)], "ranks")
    entries = [task.inputs.name, *(["lengths"] if lengths is not None else []), "ranks"]
    graph.inline(programs.start, "start", entries, [*carried, *memory])
    steps, none = "max_length", graph.constant(0)
    if sampling:
        # In a search only the first hypothesis has a score at the start; when sampling, every sequence has.
        graph.add("Greater", ["temperature", graph.constant(0.0)], "samples")
        graph.add("Mul", ["total", graph.constant(0.0)], "zero_total")
        graph.add("Where", ["samples", "zero_total", "total"], "first_total")
        graph.add("Where", ["samples", none, "max_length"], "search_steps")
        graph.add("Sub", ["max_length", "search_steps"], "sample_trips")
        steps, carried = "search_steps", ["first_total" if name == "total" else name for name in carried]
    graph.add("Equal", ["beams", graph.constant(1)], "one_beam")
    graph.add("Where", ["one_beam", steps, none], "greedy_trips")
    graph.add("Sub", [steps, "greedy_trips"], "beam_trips")
    _decode_greedily(graph, programs, states, memory)
    carried = _search(graph, programs.beam, "beam", carried, [*memory, "length_penalty"])
    if programs.sample:
        captured = [*memory, "temperature", "top_k", "uniforms"]
        carried = _search(graph, programs.sample, "sample", carried, captured, per_step="uniforms")
    _, total, length, _, written = carried[: len(_HYPOTHESES)]
    # What did not run has written nothing, at no cost.
    graph.add("Concat", ["greedy/tokens", written], "tokens", axis=2)
    graph.add("Add", ["greedy/total", total], "final_total")
    graph.add("Add", ["greedy/length", length], "final_length")
    graph.add("Max", ["final_length", graph.constant(1)], "min_one")
    graph.add("Cast", ["min_one"], "float_length", to=TensorProto.FLOAT)
    graph.add("Pow", ["float_length", "length_penalty"], "divisor")
    graph.add("Div", ["final_total", "divisor"], "scores")
    inputs = [_value_info(spec) for spec in graph_inputs(task, dynamic_time=True)]
    write_model(graph.model(inputs, [_value_info(spec) for spec in task.outputs]), path)


class Programs(NamedTuple):
    """The start and one step of each way to decode, each as a graph of its own."""

    start: ModelProto
    greedy: ModelProto
    greedy_end: ModelProto
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
    rows: tuple[Any, ...] = (hypotheses[0][:, 0].clone(), tuple(part[:, 0].clone() for part in state))
    row_shapes: tuple[Any, ...] = ({0: batch}, tuple({0: batch} for _ in state))
    if memory:
        along = tuple({0: batch, 1: time} for _ in memory)
        values, shapes, rows, row_shapes = (*values, memory), (*shapes, along), (*rows, memory), (*row_shapes, along)
    varies = {0: batch, 1: time} if lengths is not None else {0: batch}
    start = to_onnx(
        Start(network).eval(),
        (example, lengths, ranks),
        (varies, None if lengths is None else {0: batch}, {0: beam}),
    )
    written = torch.ones((3, 2), dtype=torch.int64)
    greedy_end = to_onnx(GreedyEnd().eval(), (written, torch.ones((3, 2))), ({0: step, 1: batch}, {0: step, 1: batch}))

    def export_step(module: nn.Module, more: tuple[Tensor, ...] = (), more_shapes: tuple[Any, ...] = ()) -> ModelProto:
        return to_onnx(_Step(module, bool(memory)), (*values, *more), ((*shapes, *more_shapes),))

    greedy = to_onnx(_Step(GreedyStep(network), bool(memory)), rows, (row_shapes,))
    sample = None
    if sampling:
        uniform = torch.full(hypotheses[0].shape, 0.5)
        sample = export_step(SampleStep(network), (torch.tensor(1.0), torch.tensor(0), uniform), ({}, {}, both))
    beam_step = export_step(BeamStep(network), (torch.tensor(1.0),), ({},))
    return Programs(start, greedy, greedy_end, beam_step, sample)


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


def _search(
    graph: Graph,
    program: ModelProto,
    name: str,
    initial: list[str],
    captured: list[str],
    per_step: str | None = None,
) -> list[str]:
    """Add a loop over a step, of NAME_trips iterations or until all hypotheses are finished.

    Args:
        graph: Where to add it.
        program: The step: (carried values, captured values) → carried values.
        name: Name of the loop, and prefix of its values.
        initial: Carried values before the first step.
        captured: Values of the outer graph that every step sees.
        per_step: The one of `captured` whose last axis has an entry for each step.

    Returns:
        Names of the carried values after the last step.
    """
    types = _HYPOTHESES | {f"state_{i}": TensorProto.FLOAT for i in range(len(initial) - len(_HYPOTHESES))}
    before, after = ({f"{name}/{when}/{key}": kind for key, kind in types.items()} for when in ("in", "out"))
    step = Graph(graph)
    if per_step:
        step.add("Gather", [per_step, f"{name}/trip"], f"{name}/now", axis=2)
    step.inline(program, name, [*before, *(f"{name}/now" if one == per_step else one for one in captured)], [*after])
    step.add("Cast", [f"{name}/out/finished"], f"{name}/done", to=TensorProto.INT64)
    step.add("ReduceMin", [f"{name}/done"], f"{name}/all", keepdims=0)
    step.add("Equal", [f"{name}/all", graph.constant(0)], f"{name}/goes_on")
    final = [f"{name}/{key}" for key in types]
    graph.loop(step.body(name, before, {f"{name}/goes_on": TensorProto.BOOL, **after}), f"{name}_trips", initial, final)
    return final


def _decode_greedily(graph: Graph, programs: Programs, states: list[str], memory: list[str]) -> None:
    """Add greedy decoding, of `greedy_trips` steps at most: greedy/tokens, greedy/total and greedy/length.

    An inner loop takes some steps; the outer one then drops the rows that have ended. So a batch costs as many steps as
    its rows need, not as its longest one needs.
    """
    zero, one, flat = graph.constant([0]), graph.constant([1]), graph.constant([-1])
    graph.add("Reshape", ["last", flat], "greedy/first")
    graph.add("Shape", ["greedy/first"], "greedy/rows")
    graph.add("Expand", [one, "greedy/rows"], "greedy/ones")
    graph.add("CumSum", ["greedy/ones", graph.constant(0)], "greedy/ranks")
    graph.add("Sub", ["greedy/ranks", one], "greedy/places")
    graph.add("Concat", [zero, "greedy/rows"], "greedy/nothing", axis=0)
    graph.add("Expand", [zero, "greedy/nothing"], "greedy/no_tokens")
    graph.add("Cast", ["greedy/no_tokens"], "greedy/no_probabilities", to=TensorProto.FLOAT)
    graph.add("Reshape", ["greedy_trips", one], "greedy/steps")
    for name in states:
        graph.add("Flatten", [name], f"greedy/{name}", axis=2)
    initial = ["first", "ones", *states, "places", "steps", "no_tokens", "no_probabilities"]
    final = [f"greedy/final/{name}" for name in [*initial, *memory]]
    body = _some_greedy_steps(graph, programs.greedy, states, memory)
    graph.loop(body, "greedy_trips", [*(f"greedy/{name}" for name in initial), *memory], final)
    written = [f"greedy/final/{name}" for name in ("no_tokens", "no_probabilities")]
    graph.inline(
        programs.greedy_end, "greedy/end", written, [f"greedy/flat_{name}" for name in ("tokens", "total", "length")]
    )
    graph.add("Shape", ["last"], "greedy/sizes")
    graph.add("Concat", ["greedy/sizes", flat], "greedy/token_sizes", axis=0)
    graph.add("Reshape", ["greedy/flat_tokens", "greedy/token_sizes"], "greedy/tokens")
    graph.add("Reshape", ["greedy/flat_total", "greedy/sizes"], "greedy/total")
    graph.add("Reshape", ["greedy/flat_length", "greedy/sizes"], "greedy/length")


def _some_greedy_steps(graph: Graph, program: ModelProto, states: list[str], memory: list[str]) -> GraphProto:
    """Return the outer body of greedy decoding: some steps, after which the rows that have ended are dropped.

    It carries, of the rows that are left: the last token, whether it goes on (1 or 0), states and memory; and, of all
    rows: its place among those left, what is written and its probabilities, each [step, row]; and the steps left.
    """
    ints, floats = TensorProto.INT64, TensorProto.FLOAT
    rows = {"last": ints, "going": ints, **dict.fromkeys(states, floats)}
    every = {"places": ints, "left": ints, "written": ints, "probabilities": floats}
    carried = rows | every | dict.fromkeys(memory, floats)
    outer = Graph(graph)
    outer.add("Size", ["some/last"], "some/rows")
    outer.add("Equal", ["some/rows", graph.constant(1)], "some/alone")
    outer.add("Min", ["some/left", graph.constant(_STEPS_BETWEEN_DROPS)], "some/few")
    outer.add("Where", ["some/alone", "some/left", "some/few"], "some/steps")
    stacked = {"some/tokens": ints, "some/scan": floats}
    outer.loop(
        _greedy_step(graph, program, rows, [f"some/{name}" for name in memory]),
        "some/steps",
        [f"some/{name}" for name in rows],
        [*(f"some/after/{name}" for name in rows), *stacked],
    )
    # A row that was dropped has any place, and any tokens after its `<eos>`.
    for name, new in (("written", "some/tokens"), ("probabilities", "some/scan")):
        outer.add("Gather", [new, "some/places"], f"some/new_{name}", axis=1)
        outer.add("Concat", [f"some/{name}", f"some/new_{name}"], f"some/out/{name}", axis=0)
    outer.add("Shape", ["some/tokens"], "some/taken", start=0, end=1)
    outer.add("Sub", ["some/left", "some/taken"], "some/out/left")
    outer.add("NonZero", ["some/after/going"], "some/found")
    outer.add("Squeeze", ["some/found", graph.constant([0])], "some/kept")
    for name in rows:
        outer.add("Gather", [f"some/after/{name}", "some/kept"], f"some/out/{name}")
    for name in memory:
        outer.add("Gather", [f"some/{name}", "some/kept"], f"some/out/{name}")
    outer.add("CumSum", ["some/after/going", graph.constant(0)], "some/ranks")
    outer.add("Sub", ["some/ranks", graph.constant([1])], "some/renumbered")
    outer.add("Gather", ["some/renumbered", "some/places"], "some/out/places")
    outer.add("Size", ["some/kept"], "some/number")
    outer.add("Min", ["some/number", "some/out/left"], "some/open")
    outer.add("Cast", ["some/open"], "some/goes_on", to=TensorProto.BOOL)
    inputs, outputs = ({f"some/{when}{key}": kind for key, kind in carried.items()} for when in ("", "out/"))
    return outer.body("some", inputs, {"some/goes_on": TensorProto.BOOL, **outputs})


def _greedy_step(graph: Graph, program: ModelProto, rows: dict[str, int], memory: list[str]) -> GraphProto:
    """Return the inner body of greedy decoding, which goes on while any row does."""
    states = [name for name in rows if name not in ("last", "going")]
    before, after = ({f"greedy/{when}/{key}": kind for key, kind in rows.items()} for when in ("in", "out"))
    step = Graph(graph)
    step.inline(
        program,
        "greedy",
        ["greedy/in/last", *(f"greedy/in/{name}" for name in states), *memory],
        ["greedy/out/last", "greedy/probability", *(f"greedy/out/{name}" for name in states)],
    )
    step.add("Equal", ["greedy/out/last", graph.constant(EOS)], "greedy/ends")
    step.add("Where", ["greedy/ends", graph.constant(0), "greedy/in/going"], "greedy/out/going")
    step.add("ReduceMax", ["greedy/out/going"], "greedy/any", keepdims=0)
    step.add("Cast", ["greedy/any"], "greedy/goes_on", to=TensorProto.BOOL)
    step.add("Identity", ["greedy/out/last"], "greedy/token")
    outputs = {"greedy/goes_on": TensorProto.BOOL, **after}
    return step.body(
        "greedy", before, outputs | {"greedy/token": TensorProto.INT64, "greedy/probability": TensorProto.FLOAT}
    )
