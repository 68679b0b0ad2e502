"""The training loop: Adam with warm-up and cosine decay, early stopping on a validation metric, checkpoint and resume.

Resuming is bit-equal to never having stopped: every random number of an epoch comes from (seed, epoch, rank), the
learning rate from the step, and all else is in the checkpoint: the weights of the model, those that losses have
themselves, and the optimiser's state. The student's own top items, which losses may keep for some epochs, are found
again from the weights: where there are such losses, checkpoints are written when it is time to find them anew.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from kdspark.config import TrainingConfig
from kdspark.distill.base import Objective
from kdspark.distill.batches import LOSS, ExampleBatch
from kdspark.distill.checkpoint import load_checkpoint, save_checkpoint
from kdspark.distill.optimizers import Optimizers, learning_rate
from kdspark.distill.ranks import averaged, first_ranks, rank
from kdspark.errors import TrainingError
from kdspark.models.recommender import Recommender
from kdspark.ranking.hashing import splitmix64

Epochs = Callable[[int], Iterable[ExampleBatch]]
Validate = Callable[[Recommender], float]
Curve = list[dict[str, float]]
_log = logging.getLogger(__name__)


@dataclass
class TrainingResult:
    """What training found; the model itself holds the best weights.

    Args:
        curve: per epoch: epoch (from 1), loss and its parts (means over steps), learning_rate and the settings that
            schedules move (in its last step), seconds, and `valid` where it was measured.
        best_epoch: the epoch whose weights were kept, the best or the last; to train again on more data,
            `stop_after` this many.
        best_metric: its validation metric; None without validation.
        seconds: training time, validation included, over all resumed runs.
    """

    curve: Curve = field(default_factory=list)
    best_epoch: int = 0
    best_metric: float | None = None
    seconds: float = 0.0


@dataclass
class Trainer:
    """Minimises an objective.

    Args:
        objective: returns its loss parts; its model is trained in place.
        epochs: epoch number (from 0) -> that epoch's batches, the same for the same number.
        steps_per_epoch: how many batches each epoch has (on every process).
        rows_per_step: how many rows a batch has, at most.
        config: rates, epochs, patience.
        seed: of dropout and sampling.
        validate: model -> metric, larger is better; None keeps the last weights. Called in evaluation mode without
            gradients, by rank 0 alone.
        folder: for checkpoints; None for none. A checkpoint of another configuration or seed is not used.
        device: where the model and the batches go.
        title: of the progress bar.
        stop_after: end after that many epochs, on the schedule of all of `config.epochs`.
        after_epoch: called by rank 0 with the number of epochs done, before the checkpoint that says so.
        patience_from: epochs after which evaluations begin to count against `config.patience`.
        heard: epoch (from 1) -> validation metric of the training that this one repeats without validation: what the
            objective goes by in its stead.
    """

    objective: Objective
    epochs: Epochs
    steps_per_epoch: int
    rows_per_step: int
    config: TrainingConfig
    seed: int
    validate: Validate | None = None
    folder: Path | None = None
    device: str = "cpu"
    title: str = "training"
    stop_after: int | None = None
    heard: Mapping[int, float] = field(default_factory=dict)
    after_epoch: Callable[[int], None] | None = None
    patience_from: int = 0

    def fit(self) -> TrainingResult:
        """Train, and leave the best (or last) weights in the objective's model, in evaluation mode.

        Raises:
            TrainingError: the loss or its gradient is not finite, or an epoch has not `steps_per_epoch` batches.
        """
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            return self._fit()

    def _fit(self) -> TrainingResult:
        self.objective.to(self.device)
        self._optimizers = Optimizers(self.objective, self.config)
        self._best: dict[str, Tensor] = {}
        result, done = self._resume()
        module = averaged(self.objective, self.device)
        last = min(self.stop_after or self.config.epochs, self.config.epochs)
        with tqdm(
            total=last * self.steps_per_epoch,
            initial=done * self.steps_per_epoch,
            desc=self.title,
            unit="step",
            disable=rank() != 0,
            mininterval=1.0,
        ) as bar:
            for epoch in range(done, last):
                if self._patience_over(result, epoch):
                    break
                started = perf_counter()
                self._find_own_top(epoch)
                row = self._epoch(module, epoch, bar)
                if (epoch + 1) % self.config.eval_every == 0 or epoch + 1 == last:
                    self._evaluate(result, row, epoch)
                row["seconds"] = perf_counter() - started
                result.seconds += row["seconds"]
                result.curve.append(row)
                if self.after_epoch is not None and rank() == 0:
                    self.after_epoch(epoch + 1)
                if self._can_resume(epoch + 1, last):
                    self._save(result, epoch + 1)
        if self._best:
            self._model().load_state_dict(self._best)
        self.objective.eval()
        return result

    def _find_own_top(self, epoch: int) -> None:
        """For losses that keep the student's own top items; from the weights alone, so that it need not be saved."""
        if not self.objective.refresh or epoch % self.objective.refresh:
            return
        batches = (batch.to(self.device) for batch in self.epochs(epoch))
        title = f"{self.title}, own top items"
        shown = tqdm(batches, title, self.steps_per_epoch, unit="step", disable=rank() != 0, leave=False)
        self.objective.find_own_top(shown, self.steps_per_epoch * self.rows_per_step)

    def _can_resume(self, done: int, last: int) -> bool:
        """Whether a checkpoint after so many epochs would hold all that the next ones need."""
        if self.objective.refresh:
            return done % self.objective.refresh == 0
        return done % self.config.eval_every == 0 or done == last

    def _epoch(self, module: nn.Module, epoch: int, bar: "tqdm[Any]") -> dict[str, float]:
        torch.manual_seed(_seed(self.seed, epoch))
        module.train()
        sums: dict[str, Tensor] = {}
        steps = 0
        for batch in self.epochs(epoch):
            if steps == self.steps_per_epoch:
                raise TrainingError(f"Epoch {epoch + 1} has more than {steps} batches.", "Rebuild the training rows.")
            done = epoch * self.steps_per_epoch + steps
            rate = learning_rate(self.config, done, self._total_steps())
            self.objective.progress = done / self._total_steps()
            for name, part in self._step(module, batch.to(self.device), rate, epoch, steps).items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + part
            steps += 1
            bar.update()
        if steps != self.steps_per_epoch:
            raise TrainingError(
                f"Epoch {epoch + 1} has {steps} batches, {self.steps_per_epoch} were expected.",
                "Rebuild the training rows.",
            )
        means = {name: float(total) / steps for name, total in sums.items()}
        bar.set_postfix(loss=f"{means[LOSS]:.4f}", refresh=False)
        return {"epoch": epoch + 1, **means, "learning_rate": rate, **self.objective.scheduled()}

    def _step(self, module: nn.Module, batch: ExampleBatch, rate: float, epoch: int, step: int) -> dict[str, Tensor]:
        self._optimizers.start(rate)
        autocast = self.config.precision == "bf16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=autocast):
            parts: dict[str, Tensor] = module(batch)
        parts[LOSS].backward()  # type: ignore[no-untyped-call]
        norm = self._optimizers.clip()
        if not bool(torch.isfinite(parts[LOSS].detach() + norm)):
            raise TrainingError(
                f"{self.title}: the loss or its gradient is not finite in epoch {epoch + 1}, step {step + 1} "
                f"(loss {float(parts[LOSS].detach())}, gradient norm {float(norm)}).",
                "Lower `training.learning_rate`, or look for extreme values in the features.",
            )
        self._optimizers.step()
        return {name: part.detach().float() for name, part in parts.items()}

    def _evaluate(self, result: TrainingResult, row: dict[str, float], epoch: int) -> None:
        if self.validate is None:
            result.best_epoch = epoch + 1
            if epoch + 1 in self.heard:
                self.objective.hear(self.heard[epoch + 1])
            return
        self.objective.eval()
        metric = 0.0
        if rank() == 0:
            with torch.inference_mode():
                metric = self.validate(self._model())
        metric = first_ranks(metric, self.device)
        row["valid"] = metric
        self.objective.hear(metric)
        if result.best_metric is None or metric > result.best_metric or self.config.keep == "last":
            result.best_metric, result.best_epoch = metric, epoch + 1
            self._best = {name: tensor.detach().clone() for name, tensor in self._model().state_dict().items()}

    def _patience_over(self, result: TrainingResult, epoch: int) -> bool:
        evaluations = (epoch - max(result.best_epoch, self.patience_from)) // self.config.eval_every
        return self.validate is not None and result.best_epoch > 0 and evaluations >= self.config.patience

    def _save(self, result: TrainingResult, done: int) -> None:
        if self.folder is None or rank() != 0:
            return
        tensors = {f"objective.{name}": tensor for name, tensor in self.objective.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizers.state().items()}
        save_checkpoint(self.folder, done, tensors, {"fingerprint": self._key(), "done": done, "result": vars(result)})

    def _resume(self) -> tuple[TrainingResult, int]:
        found = load_checkpoint(self.folder) if self.folder is not None else None
        if found is None or found[1].get("fingerprint") != self._key():
            return TrainingResult(), 0
        tensors, state = found
        self.objective.load_state_dict(_part(tensors, "objective."))
        self._best = {name: tensor.to(self.device) for name, tensor in _part(tensors, "best.").items()}
        self._optimizers.load(_part(tensors, "optimizer."))
        _log.info("%s: resumed after %d epochs", self.title, state["done"])
        return TrainingResult(**state["result"]), int(state["done"])

    def _key(self) -> str:
        """What a checkpoint must have been written under: settings, and the names and sizes of all that is trained."""
        weights = {name: list(tensor.shape) for name, tensor in self.objective.state_dict().items()}
        heard = sorted(self.heard.items())
        facts = self.config.digest(), self.objective.digest(), self.seed, self.steps_per_epoch, weights, heard
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _total_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    def _model(self) -> Recommender:
        return self.objective.model


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _seed(seed: int, epoch: int) -> int:
    return int(splitmix64(splitmix64(epoch, seed), rank())) >> 1
