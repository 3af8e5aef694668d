"""The map beside an adaptation: source poses stay where they are, adapted ones move among them."""

from __future__ import annotations

import numpy as np
import torch

from flexpose.compute import generator_for
from flexpose.evaluation.distributions import features
from flexpose.evaluation.embedding import PoseMap
from flexpose.events import MapReady
from flexpose.models.prior import Prior
from flexpose.sampling import PoseModel, PoseSampler

_STREAM = 1 << 42  # random stream beside the steps
_SHOWN = {True: 80, False: 200}  # adapted poses on the map; images take longer to make


class AdaptationMap:
    """Places shots and adapted poses on the prior's map.

    Parameters
    ----------
    shots : float (M, J, 2), unit space, box-normalised

    Raises
    ------
    MissingDependencyError : openTSNE is not installed.
    """

    def __init__(self, prior: Prior, shots: torch.Tensor, seed: int) -> None:
        if prior.source_sample is not None:
            self._source = prior.source_sample.cpu().numpy()
        else:  # an imported prior: its own poses stand for those that it learned
            random = generator_for(seed, _STREAM)
            self._source = PoseSampler(PoseModel(prior), reject=0).draw(1000, random).numpy()
        source = features(self._source)
        if prior.source_map is None or prior.source_sample is None:
            self._map = PoseMap.fit(source, seed)
        else:
            rows = np.arange(len(source))
            places = prior.source_map.numpy().astype(np.float64)
            self._map = PoseMap(features=source, positions=places, rows=rows, seed=seed)
        self._shots = shots.cpu().numpy()
        self._shot_places = self._map.place(features(self._shots))
        self._seed, self._count = seed, _SHOWN[prior.regressor is not None]

    def event(self, step: int, model: PoseModel) -> MapReady:
        """Draw from the model as it is now, with the same latents each time, and place."""
        random = generator_for(self._seed, _STREAM, 1)
        adapted = PoseSampler(model, reject=0).draw(self._count, random).numpy()
        source = self._source[self._map.rows]
        places = [self._map.positions, self._shot_places, self._map.place(features(adapted))]
        counts = {"source": len(source), "shots": len(self._shots), "adapted": len(adapted)}
        return MapReady(
            step,
            np.concatenate(places).astype(np.float32),
            np.concatenate([source, self._shots, adapted]).astype(np.float32),
            counts,
        )
