"""Earlier states of a model in training, kept as model folders beside the final one: model/snapshots/1, 2, ...

Which epochs are wanted is known only when the training is over: equal shares of the epochs up to the one whose weights
are kept. So a few times as many are saved on the way, and the nearest ones are taken.
"""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdspark.errors import TrainingError

_FOLDER = "snapshots"
_DENSITY = 4  # the first state wanted is off by an eighth of itself at most
_log = logging.getLogger("kdspark")


def snapshot(model: Path, state: int) -> Path:
    """Folder of a model folder's earlier state (from 1)."""
    return model / _FOLDER / str(state)


def state_of(model: Path, state: int) -> Path:
    """The same; for a model that has only one state, its own folder."""
    folder = snapshot(model, state)
    return folder if folder.is_dir() else model


@dataclass(frozen=True)
class Snapshots:
    """The states of one training.

    Args:
        count: how many are wanted, the final one not counted.
        checkpoints: folder that outlives a crash; a resumed training finds in it what it saved before.
        save: writes the model as it is now into a folder.
    """

    count: int
    checkpoints: Path
    save: Callable[[Path], object]

    def after_epoch(self, done: int) -> None:
        """Save the state after so many epochs, if it is one that may be wanted."""
        if done % self.distance(done) == 0:
            self.save(self._saved(done))

    def distance(self, epoch: float) -> int:
        """Epochs between two saved states near this one: small beside the epoch, wherever the training stops."""
        return int(2 ** max(0, math.floor(math.log2(max(1.0, epoch / (_DENSITY * (self.count + 1)))))))

    def wanted(self, best_epoch: int) -> list[int]:
        """After how many epochs the states are taken, for weights kept after `best_epoch`: which stands for itself.

        A training too short for so many has some of them twice.
        """
        shares = [state * best_epoch / (self.count + 1) for state in range(1, self.count + 1)]
        steps = [self.distance(share) for share in shares]
        return [max(1, step * int(share / step + 0.5)) for share, step in zip(shares, steps, strict=True)]

    def write(self, model: Path, best_epoch: int) -> None:
        """Put the states beside the final model, which is written already.

        Raises:
            TrainingError: a state that was saved is gone.
        """
        epochs = self.wanted(best_epoch)
        if len({*epochs, best_epoch}) <= self.count:
            _log.warning("%d epochs have no %d states before the last; some are used twice", best_epoch, self.count)
        for state, epoch in enumerate(epochs, start=1):
            saved, target = self._saved(epoch) if epoch < best_epoch else model, snapshot(model, state)
            target.mkdir(parents=True, exist_ok=True)
            for name in ("model.json", "model.safetensors"):
                if not (saved / name).is_file():
                    raise TrainingError(f"{saved / name} is gone.", "Delete the checkpoints and run the stage again.")
                shutil.copyfile(saved / name, target / name)

    def _saved(self, done: int) -> Path:
        return self.checkpoints / _FOLDER / f"epoch-{done:05d}"
