"""What else is to be known of an analysis, as data: `present` has the sentence for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something to be known of an analysis.

    `kind` is a key of present's sentences, `values` the names and numbers in it, and `where` the
    conditions of the rows that it is about, if it is not about all.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
