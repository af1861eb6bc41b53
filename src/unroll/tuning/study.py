"""The study: Optuna's record of all trials, in a database that several processes share."""

import contextlib
import json
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from unroll import paths
from unroll.config.experiments import Experiment
from unroll.config.section import TaskSection
from unroll.config.tuning import Tuning
from unroll.errors import ParameterError, ServiceUnavailable
from unroll.files import digest_of
from unroll.tracking.store import is_temporary
from unroll.tuning.space import PRESENT, present_values

_RETRIES = 3
"""A trial that was killed more often is given up: it may need more memory than there is."""
_HEARTBEAT, _GRACE = 30, 180
"""Seconds between the signs of life of a trial on a shared database, and after which a silent one is retried."""
_STARTUP, _FIRST_EPOCH = 5, 1
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Plan:
    """A search, as its processes need it.

    Attributes:
        name: Name of the experiment.
        experiment: Its parameters, with one seed.
        section: Its task's parameters.
        tuning: The search.
        storage: Address of the database; empty for a file of this repository.
    """

    name: str
    experiment: Experiment
    section: TaskSection
    tuning: Tuning
    storage: str = ""

    @property
    def place(self) -> str:
        """This machine and repository: at any time, one command searches here."""
        return f"{socket.gethostname()}:{os.getcwd()}"  # noqa: PTH109 -- as text


def begin_study(plan: Plan, *, resume: bool, higher_is_better: bool) -> optuna.Study:
    """Create a study, or go on with one: trials that were killed here are queued again.

    Raises:
        ParameterError: A study exists and is not to be resumed, or was begun with other parameters or data.
        ServiceUnavailable: The database cannot be reached.
    """
    with translated_errors(plan):
        storage = _connect(plan)
        exists = plan.name in optuna.get_all_study_names(storage)
        if exists and not resume:
            raise ParameterError(
                f"{plan.name} has a study already: go on with it by --resume, or delete it ({_deletion(plan)})"
            )
        study = optuna.create_study(
            storage=storage,
            study_name=plan.name,
            direction="maximize" if higher_is_better else "minimize",
            load_if_exists=True,
            pruner=_pruner(),
        )
        facts = _facts(plan)
        if not study.user_attrs.get("facts"):
            study.set_user_attr("facts", facts)
            if present := present_values(plan.experiment, plan.tuning.space):
                study.enqueue_trial(present, user_attrs={PRESENT: True})
        changed = [key for key, fact in facts.items() if study.user_attrs["facts"].get(key) != fact]
        if changed:
            raise ParameterError(
                f"the study of {plan.name} was begun with other values of: {', '.join(changed)}; "
                f"its trials cannot be compared with new ones. Undo the change, or delete it ({_deletion(plan)})"
            )
        _retry_killed(study, plan)
        return study


def load_study(plan: Plan, worker: int) -> optuna.Study:
    """Return the study in a process of its own."""
    storage = _connect(plan)
    study = optuna.load_study(study_name=plan.name, storage=storage, pruner=_pruner())
    # Each process and each continuation draws other numbers; one process, never interrupted, always the same.
    seed = None if plan.storage else 1000 * len(study.get_trials(deepcopy=False)) + worker
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study


def enough(study: optuna.Study, plan: Plan) -> bool:
    """Return whether no other trial is needed; those that run count."""
    counted = study.get_trials(deepcopy=False, states=(*FINISHED, TrialState.RUNNING))
    return len(counted) >= plan.tuning.trials


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were completed or pruned."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def _connect(plan: Plan) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if not plan.storage:
            folder = paths.study(plan.name)
            folder.mkdir(parents=True, exist_ok=True)
            # Seconds for which SQLite waits while another process writes.
            return RDBStorage(f"sqlite:///{folder / 'study.db'}", {"connect_args": {"timeout": 60}})
        try:
            url = make_url(plan.storage)
            if url.drivername in ("postgresql", "postgres"):
                url = url.set(drivername="postgresql+psycopg")
            return RDBStorage(
                url.render_as_string(hide_password=False),
                {"pool_pre_ping": True},
                heartbeat_interval=_HEARTBEAT,
                grace_period=_GRACE,
                heartbeat_stale_trial_callback=_retry(),
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ParameterError(
                f"--storage {plan.storage} is not an address that can be used ({error}); expected "
                "postgresql://USER@HOST/DATABASE"
            ) from error


@contextlib.contextmanager
def translated_errors(plan: Plan) -> Iterator[None]:
    """Turn what the study's database raises while the block runs into errors that say what to do.

    Raises:
        ServiceUnavailable: It does not answer, or restarts; `--resume` goes on later.
        ParameterError: It refuses to be used, for example because the password is wrong.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        text = f"the study's database {plan.storage or paths.study(plan.name)} cannot be used: {reason}"
        in_file = not plan.storage or plan.storage.startswith("sqlite")
        if is_temporary(error, in_file=in_file):
            raise ServiceUnavailable(f"{text}. What is done is kept: go on with --resume") from error
        raise ParameterError(text) from error


def _retry() -> RetryHeartbeatStaleTrialCallback:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RetryHeartbeatStaleTrialCallback(max_retry=_RETRIES, inherit_intermediate_values=True)


def _pruner() -> optuna.pruners.BasePruner:
    """Prune what is worse than the median after an epoch, but nothing after its first epoch."""
    return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=_FIRST_EPOCH + 1)


def _retry_killed(study: optuna.Study, plan: Plan) -> None:
    """Queue the trials again that ran here: nobody else searches here now, so they were killed."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        # Trials of other machines are retried when their signs of life stop.
        if not plan.storage or trial.user_attrs.get("place") == plan.place:
            study.tell(trial.number, state=TrialState.FAIL)
            _retry()(study, trial)


def _facts(plan: Plan) -> dict[str, str]:
    """Return what trials have to share to be compared."""
    return {
        f"experiments.{plan.name}.model": plan.experiment.model.model_dump_json(),
        f"experiments.{plan.name}.training": plan.experiment.training.model_dump_json(),
        f"experiments.{plan.name}.tune.space": json.dumps(plan.tuning.model_dump(mode="json")["space"]),
        f"tasks.{plan.experiment.task}": plan.section.model_dump_json(),
        str(paths.features(plan.experiment.task)): str(digest_of(paths.features(plan.experiment.task))),
    }


def _deletion(plan: Plan) -> str:
    if plan.storage:
        return f"`optuna delete-study --study-name {plan.name} --storage …`"
    return f"the folder {paths.study(plan.name)}"
