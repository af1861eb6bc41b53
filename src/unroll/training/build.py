"""One builder for every task and every model: N + M, not N × M."""

from unroll import params
from unroll.errors import ParameterError
from unroll.models.dense import DenseEncoder
from unroll.models.network import SequenceNetwork
from unroll.models.recurrent import RecurrentEncoder
from unroll.tasks.task import Task


def build_model(task: Task, model: params.Model) -> SequenceNetwork:
    """A network for a task, its weights drawn from torch's generator as it stands.

    Raises:
        ParameterError: The model cannot do the task.
    """
    encoder: DenseEncoder | RecurrentEncoder
    if isinstance(model, params.DenseModel):
        if task.every_step:
            raise ParameterError(f"a dense model has one output, task {task.name!r} wants one a step: use recurrent")
        encoder = DenseEncoder(
            task.steps * task.features, model.units, nonlinearity=model.nonlinearity, dropout=model.dropout
        )
    else:
        encoder = RecurrentEncoder(
            task.features,
            [(layer.cell, layer.units) for layer in model.layers],
            bidirectional=model.bidirectional,
            nonlinearity=model.nonlinearity,
            initialisation=model.initialisation,
            forget_bias=model.forget_bias,
            layer_norm=model.layer_norm,
            dropout=model.dropout,
            truncate=model.truncate,
        )
        if task.every_step and model.bidirectional:
            raise ParameterError(
                f"task {task.name!r} forecasts each step's next day: a backward layer would read it; "
                "set bidirectional: false"
            )
    head = task.make_head(encoder.output_size)
    return SequenceNetwork(task.make_units(), encoder, head, every_step=task.every_step, dropout=model.dropout)
