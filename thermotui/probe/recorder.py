"""A training step from its beginning to its end: which hooks are on, and what of the samples they have left.

A step with nothing to read takes the hooks off the model when it begins; between steps they may be on it but read
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from thermotui.probe.agreement import Directed, disagreement
from thermotui.probe.attachment import Attachment
from thermotui.probe.general_norms import GeneralNorms
from thermotui.probe.linear_norms import LinearNorms
from thermotui.probe.noise import SAMPLED, Part, general_part, part_sums
from thermotui.probe.passes import Passes

DISAGREES = (
    "its gradient is not the sum of what the samples give through the module (is the weight used elsewhere as well, is "
    "there a penalty in the loss, a hook on the gradient, or that of earlier steps still in it: optimizer.zero_grad?)"
)


class StepRecorder:
    """Attaches to a model, step by step, what reads its passes, and takes what that found of the samples' noise."""

    def __init__(self, model: nn.Module, passes: Passes, *, norms: LinearNorms, general: GeneralNorms) -> None:
        """Take a model and what reads its passes; the hooks come with the first step.

        norms, general: where those of linear layers alone, and of layers of any kind, wait to be summed up.
        """
        self.step_samples = 0
        """Samples that the gradients of the last measured step are of, as far as any layer could tell."""
        self._tracks = passes.tracks
        self._every = frozenset(range(len(self._tracks)))
        self.unserved = self._every
        """Layers whose noise the last measured step did not measure within the batch: all of them where |b| = 1."""
        self._missing = torch.full((), torch.nan, device=self._tracks[0].layer.parameters[0].device)
        self._passes, self._norms, self._general = passes, norms, general
        self._attachment = Attachment(
            model,
            self._tracks,
            on_input=passes.count_samples,
            on_call=passes.call_hook,
            on_gradient=passes.accumulation_hook,
        )

    @property
    def estimators(self) -> tuple[str, ...]:
        """How each layer's noise was measured in the steps so far; empty where it was not."""
        return tuple("" if track.obstacle else track.estimator for track in self._tracks)

    @property
    def by_length(self) -> tuple[str, ...]:
        """Layers whose norms are exact or sketched by how many positions their inputs have."""
        return tuple(track.layer.name for track in self._tracks if track.by_length and not track.obstacle)

    @property
    def obstacles(self) -> dict[str, str]:
        """Layer name → why its noise is not measured within the batch."""
        return {t.layer.name: t.obstacle or "no gradient reached it" for t in self._tracks if not t.served}

    def begin_step(self, *, measuring: bool, gradients: bool, checking: bool = False) -> None:
        """Forget the last step; measuring: read per-sample norms in this one, gradients: hand over the gradients.

        checking: with the norms, see whether gradients are the sums of their samples' parts.
        """
        self._attachment.begin_step(modules=measuring, gradients=gradients)
        if self._passes.measuring:
            # The last step did not come to its end.
            self._passes.abandon()
        self._passes.begin_step(measuring=measuring, checking=checking)

    def disagreements(self, gradients: Mapping[int, Directed]) -> Tensor:
        """By layer, how far its gradient is from the sum of the samples' parts, [L]: more than 1 is too far.

        gradients: those of this step, by the parameter's id. NaN where nothing can be compared.
        """
        found = []
        for track in self._tracks:
            totals: dict[int, list[Tensor]] = {}
            parts = [part for part in track.parts if isinstance(part, Part)]
            for parameter, total in (pair for part in parts for pair in part.totals):
                totals.setdefault(id(parameter), []).append(total)
            if totals and all(at in gradients for at in totals):
                squares = torch.stack([part.squares().sum() for part in parts]).sum()
                found.append(disagreement(totals, gradients, squares))
            else:
                found.append(self._missing)
        return torch.stack(found)

    @property
    def comparable(self) -> tuple[int, ...]:
        """Layers whose samples' parts are all read, so that their sum can be compared with the gradient."""
        return tuple(i for i, track in enumerate(self._tracks) if track.served and SAMPLED not in track.estimator)

    def distrust(self, layers: Iterable[int]) -> None:
        """Give up the layers whose gradient was found not to be the sum of its samples' parts."""
        for index in layers:
            if not self._tracks[index].obstacle:
                self._passes.give_up(self._tracks[index], DISAGREES)

    def take_noise(self) -> Tensor | LinearNorms | GeneralNorms:
        """The step's sums, the rows `NOISE` by layer, [3, L], or where the norms wait that they are to be made of.

        The hooks rest from now on.
        """
        noise: Tensor | LinearNorms | GeneralNorms
        if self._passes.held:
            noise = self._norms
            self.step_samples = self._norms.samples
            self.unserved = frozenset() if self.step_samples > 1 else self._every
        else:
            seen = self._passes.samples_seen
            self.step_samples = max((track.samples for track in self._tracks if track.parts), default=seen)
            # A layer may have another loss than the others, of a batch of its own.
            odd = [i for i, track in enumerate(self._tracks) if track.parts and track.samples != self.step_samples]
            for index in odd:
                self._tracks[index].begin_anew()
            parts = [[general_part(part, track.layer.bias) for part in track.parts] for track in self._tracks]
            if self._general.hold(parts):
                noise = self._general
            else:
                noise = torch.stack([part_sums(layer, self._missing) for layer in parts], dim=1)
            served = {i for i, track in enumerate(self._tracks) if track.served and self.step_samples > 1}
            self.unserved = self._every - served.difference(odd)
        self._passes.abandon()
        return noise

    def detach(self) -> None:
        """Take all hooks off the model, and let go of what the last step left."""
        self._passes.abandon()
        self._attachment.leave()
