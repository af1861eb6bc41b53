"""Domains: kinds of data with their sections of params.yaml and their modules."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from unroll.config.section import Section
from unroll.config.sources import DatasetSection

Part = Literal["dataset", "expectations", "samples", "metrics", "task", "reader", "plots"]
"""Modules of a domain besides `config`. docs/adding.md describes what each one defines."""


@dataclass(frozen=True)
class Domain:
    """One kind of data.

    Attributes:
        name: Name of its folder, and the value of `domain` in params.yaml.
        tasks: Sections of its tasks, one for each `kind`.
        dataset: Section of its datasets; None if its samples are made from another domain's data.
        made_from: Name of that domain.
    """

    name: str
    tasks: tuple[type[Section], ...]
    dataset: type[DatasetSection] | None = None
    made_from: str = ""

    @property
    def table(self) -> str:
        """Name of the domain whose tables its tasks read."""
        return self.made_from or self.name

    def part(self, name: Part) -> ModuleType:
        """Import a module of the domain only when it is needed: `task` imports torch."""
        return import_module(f"unroll.domains.{self.name}.{name}")
