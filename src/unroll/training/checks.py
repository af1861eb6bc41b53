"""Check that an experiment's model and training fit its task, which params.yaml alone cannot show."""

from collections.abc import Iterator

from unroll.config.experiments import DenseModel, Embedding, EncoderDecoderModel, Experiment, Model, RecurrentModel
from unroll.domains.task import Task
from unroll.errors import ParameterError
from unroll.features.samples import Samples
from unroll.features.special_tokens import IGNORE_INDEX, NEVER_GENERATED
from unroll.features.symbols import steps_needed


def check_experiment(name: str, experiment: Experiment, task: Task, samples: Samples) -> None:
    """Refuse an experiment that cannot be trained.

    Raises:
        ParameterError: Names every fault with its key.
    """
    faults = [f"experiments.{name}.model: {fault}" for fault in model_faults(experiment.model, task, samples)]
    faults += [f"experiments.{name}.training.{fault}" for fault in _training_faults(experiment, task, samples)]
    first_tokens = task.target_vocab_size - len(NEVER_GENERATED)
    if task.decoding and task.decoding.beams > first_tokens:
        faults.append(
            f"tasks.{task.name}.decoding.beams is {task.decoding.beams}, but a text can begin with {first_tokens} "
            "tokens only; use at most as many beams"
        )
    if faults:
        raise ParameterError("\n".join(faults))


def model_faults(model: Model, task: Task, samples: Samples) -> Iterator[str]:
    """Yield the options of a model that do not fit the task."""
    generates = task.target_vocab_size > 0 and not task.every_step
    if isinstance(model, EncoderDecoderModel):
        if task.ahead:
            yield from _forecaster_faults(model, task)
        elif not generates:
            yield f"kind encoder_decoder writes a sequence of its own, which task {task.name!r} does not need"
            return
    elif generates:
        yield f"task {task.name!r} writes a sequence of its own: use kind encoder_decoder"
    elif isinstance(model, DenseModel):
        if task.every_step:
            yield f"kind dense has one output, task {task.name!r} needs one for each step: use recurrent"
    else:
        if model.bidirectional and task.causal:
            yield f"bidirectional is true, but steps of task {task.name!r} predict what comes next: use false"
        if model.pooling != "last" and task.every_step:
            yield f"pooling is {model.pooling}, but task {task.name!r} has an output for each step: leave pooling out"
        if model.tie_weights and not task.target_vocab_size:
            yield f"tie_weights is for language models; task {task.name!r} predicts no tokens: leave it out"
    encoder = model.encoder if isinstance(model, EncoderDecoderModel) else model
    in_step = task.variable_length or task.source_vocab_size or (task.every_step and not task.unaligned)
    if isinstance(encoder, RecurrentModel) and encoder.convolutions and in_step:
        yield (
            f"convolutions need inputs of fixed length, and outputs that are not in step with them, which task "
            f"{task.name!r} does not have: leave them out"
        )
    if isinstance(encoder, DenseModel) and (task.variable_length or task.source_vocab_size):
        yield f"kind dense needs inputs of fixed size, which task {task.name!r} does not have: use recurrent"
    if isinstance(encoder, RecurrentModel) and task.unaligned:
        steps, longest = task.steps, int((samples.tensors["targets"] != IGNORE_INDEX).sum(1).max())
        for one in encoder.convolutions:
            steps = (steps + 2 * (one.width // 2) - one.width) // one.stride + 1
        if steps < steps_needed(longest):
            yield (
                f"its convolutions leave {steps} of {task.steps} steps; up to {longest} symbols of task {task.name!r} "
                f"need {steps_needed(longest)}: use smaller strides"
            )
    if not isinstance(model, DenseModel):
        if model.sampled_softmax and not task.target_vocab_size:
            yield f"sampled_softmax is for tasks that predict tokens, which {task.name!r} does not: leave it out"
        yield from _embedding_faults(model.embedding, task, samples)


def _forecaster_faults(model: EncoderDecoderModel, task: Task) -> Iterator[str]:
    if isinstance(model.encoder, DenseModel) or model.decoder.attention != "none" or model.reverse_source:
        yield (
            f"for values such as those of task {task.name!r}, kind encoder_decoder needs a recurrent encoder, "
            "attention: none and no reverse_source"
        )


def _embedding_faults(embedding: Embedding, task: Task, samples: Samples) -> Iterator[str]:
    if not (task.source_vocab_size or task.target_vocab_size):
        if embedding != Embedding():
            yield f"task {task.name!r} has no tokens: leave embedding out"
    elif embedding.init == "random":
        return
    elif samples.vectors is None:
        yield (
            f"embedding.init is pretrained, but task {task.name!r} has no vectors: name a GloVe or word2vec text file "
            f"in tasks.{task.name}.vectors, or leave init out"
        )
    elif samples.vectors.shape[1] != embedding.size:
        yield (
            f"embedding.size is {embedding.size}, but the vectors of tasks.{task.name}.vectors have "
            f"{samples.vectors.shape[1]} numbers; make them equal"
        )


def _training_faults(experiment: Experiment, task: Task, samples: Samples) -> Iterator[str]:
    training = experiment.training
    if not all(len(fold.valid) for fold in samples.folds):
        unless = f"tasks.{task.name} holds out no validation rows; set a valid_share above 0, or"
        if training.keep == "best":
            yield f"keep is best, but {unless} keep: last"
        if training.patience:
            yield f"patience is {training.patience}, but {unless} leave patience out"
    if task.output == "tokens" and len(training.seeds) > 1:
        yield (
            f"seeds has {len(training.seeds)} seeds, but generated tokens of task {task.name!r} cannot be averaged: "
            "give one seed"
        )
