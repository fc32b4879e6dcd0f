"""Networks with deep supervision, behind what the trainer expects of one."""

from __future__ import annotations

from torch import Tensor, nn

from unet_bench.networks.contracts import Outputs


class Supervised(nn.Module):
    """A network that returns a list of logits.

    In training it returns `Outputs`, weighted 1, 1/2, 1/4, …; in eval the main ones. `switch` names
    the submodule whose `deep_supervision` says whether all heads are computed: in training alone,
    as nnU-Net's trainer has it. `main` is the place of the main logits in the list.
    """

    def __init__(self, network: nn.Module, switch: str, main: int) -> None:
        super().__init__()
        self.network, self.switch, self.main = network, switch, main

    def forward(self, x: Tensor) -> Tensor | Outputs:
        switch = self.network.get_submodule(self.switch)
        switch.deep_supervision = self.training  # type: ignore[assignment]
        found = self.network(x)
        if isinstance(found, Tensor):
            return found
        others = list(found)
        logits = others.pop(self.main)
        if not self.training:
            return logits  # type: ignore[no-any-return]
        return Outputs(logits, tuple((0.5**i, other) for i, other in enumerate(others, start=1)))
