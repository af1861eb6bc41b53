"""What a domain is: its sections of params.yaml, and the module of each part by its file name."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from unroll.config.section import Section
from unroll.config.sources import DatasetSection

Part = Literal["dataset", "expectations", "samples", "metrics", "task", "reader", "plots"]
"""The modules that a domain consists of, besides `config`; docs/adding.md says what each one defines."""


@dataclass(frozen=True)
class Domain:
    """One kind of data.

    Attributes:
        name: Name of its folder, and the value of `domain` in params.yaml.
        tasks: Sections of its tasks, one a `kind`.
        dataset: Section of its datasets; None where it is made from another domain's data.
        made_from: Name of the domain whose datasets its tasks use.
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
        """Import one of its modules; late, since `task` needs torch and `plots` matplotlib."""
        return import_module(f"unroll.domains.{self.name}.{name}")
