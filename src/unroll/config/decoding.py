"""How a generator writes: one set of settings for params.yaml, a bundle's card, the command line and the scorer."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from unroll.config.section import Section
from unroll.errors import ParameterError


def _zero_or_drawable(temperature: float) -> float:
    if 0 < temperature < 0.01:
        raise ValueError("must be 0, or between 0.01 and 100")
    return temperature


class DecodingConfig(Section):
    """How a generator writes.

    The card of a bundle holds the settings that its task was evaluated with. Whoever uses the bundle passes a
    `DecodingConfig` of its own, whose fields that were set replace the card's; see `override`.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    beams: Annotated[int, Field(ge=1, le=1000)] = 4
    """Number of hypotheses of the beam search (1 is greedy decoding), or of sequences to sample."""
    length_penalty: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Hypotheses are ranked by log probability / length ^ length_penalty."""
    max_length: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Maximum number of tokens to write."""
    temperature: Annotated[float, Field(ge=0, le=100), AfterValidator(_zero_or_drawable)] = 0.0
    """0 searches for the likeliest text; above 0, tokens are sampled, and a value below 1 favors likely ones."""
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Sample from the k likeliest tokens; 0 for all."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the sampling; equal seeds give equal texts."""
    n_best: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of texts to return for each row."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Build from command-line options; those that are None or unknown are ignored.

        Raises:
            ParameterError: A value is out of bounds.
        """
        given = {name: options[name] for name in cls.model_fields if options.get(name) is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            faults = [
                f"--{str(fault['loc'][0]).replace('_', '-')} is {fault['input']}: {fault['msg']}"
                for fault in error.errors()
            ]
            raise ParameterError("; ".join(faults)) from None

    def override(self, other: "DecodingConfig") -> "DecodingConfig":
        """Return these settings, replaced by the fields of `other` that were set."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


def _without_sampling(decoding: DecodingConfig) -> DecodingConfig:
    if decoding.temperature or decoding.top_k:
        raise ValueError("temperature and top_k are for tasks that continue a prompt; this one uses beam search")
    return decoding


BeamSearch = Annotated[DecodingConfig, AfterValidator(_without_sampling)]
"""DecodingConfig of a task that has one right answer, such as a translation."""
