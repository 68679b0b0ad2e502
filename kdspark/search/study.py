"""Trials on disk, and which values come next. The only module that names optuna.

Trials are appended to a journal, a plain file below ROOT that needs no server and works on shared file systems. What
comes next depends on the search file and on the trials decided so far, and on nothing else: a search that was stopped
and goes on tries what it would have tried without the stop.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from kdspark.config.search import ChoicesConfig, FieldConfig, SearchConfig
from kdspark.errors import StageError
from kdspark.ranking.hashing import splitmix64
from kdspark.report.search import TrialRecord
from kdspark.search.space import Point, decode_all, grid_points, text_of

JOURNAL = "journal.log"
_OUTCOME = "outcome"
_FEWEST = 10  # trials of which importances say anything
_DECIDED = (TrialState.COMPLETE, TrialState.PRUNED)


class Study:
    """The trials of one search. One process at a time may have it open.

    A trial is decided once it is done (COMPLETE) or has failed. The failed are PRUNED and not FAIL to optuna, whose TPE
    then keeps away from what does not fit. FAIL are those that a killed process left: their values are tried again.

    Args:
        folder: where the journal lies; made if it does not exist.
        search: the search file.

    Raises:
        StageError: the journal is damaged.
    """

    def __init__(self, folder: Path, search: SearchConfig) -> None:
        self.search = search
        self._distributions = {key: _distribution(field) for key, field in search.fields.items()}
        self._grid = grid_points(search) if search.sampler == "grid" else []
        self._asked: Trial | None = None
        self._study = _open(folder, search)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)

    def trials(self) -> list[TrialRecord]:
        """The decided trials, in the order in which they were decided."""
        found = self._study.get_trials(deepcopy=False, states=_DECIDED)
        return [self._record(number, trial) for number, trial in enumerate(found)]

    def ask(self) -> dict[str, Any] | None:
        """The next values to try, dotted key -> value; None when a grid has no more.

        Until `tell` is called the trial counts as running, and as killed if the process ends.
        """
        decided = len(self._study.get_trials(deepcopy=False, states=_DECIDED))
        if self.search.sampler == "grid" and decided >= len(self._grid):
            return None
        self._study.sampler = self._sampler(decided)
        self._asked = self._study.ask(self._distributions)
        return decode_all(self.search, self._asked.params)

    def tell(self, outcome: Mapping[str, Any]) -> None:
        """Decide the trial asked for.

        Args:
            outcome: a TrialRecord's values, epochs, weights, seconds and reason; `value` None for a failed one.
        """
        assert self._asked is not None
        self._asked.set_user_attr(_OUTCOME, dict(outcome))
        if outcome["value"] is None:
            self._study.tell(self._asked, state=TrialState.PRUNED)
        else:
            self._study.tell(self._asked, outcome["value"])
        self._asked = None

    def importances(self) -> dict[str, float]:
        """How much each key matters for being among the best tenth, in shares of 1 (PED-ANOVA, Watanabe et al.,
        IJCAI'23); {} with fewer than ten trials done, or where nothing matters."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < _FEWEST or len({trial.value for trial in done}) == 1:
            return {}
        found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
        return {key: float(share) for key, share in found.items()} if sum(found.values()) > 0 else {}

    def _record(self, number: int, trial: FrozenTrial) -> TrialRecord:
        done = trial.state == TrialState.COMPLETE
        outcome: dict[str, Any] = trial.user_attrs[_OUTCOME]
        return TrialRecord(
            number=number,
            state="done" if done else "failed",
            value=outcome["value"],
            values=outcome["values"],
            parameters=decode_all(self.search, trial.params),
            epochs=outcome["epochs"],
            weights=outcome["weights"],
            seconds=outcome["seconds"],
            reason=outcome["reason"],
        )

    def _sampler(self, decided: int) -> BaseSampler:
        """A sampler of this trial's own: its seed counts the decided trials, not those of this process."""
        seed = int(splitmix64(decided, self.search.seed)) % 2**32
        if self.search.sampler == "grid":
            return _PointSampler(self._grid[decided])
        return TPESampler(seed=seed) if self.search.sampler == "tpe" else RandomSampler(seed=seed)


class _PointSampler(BaseSampler):
    """Samples one point."""

    def __init__(self, point: Point) -> None:
        self._point = point

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._point[param_name]


def _open(folder: Path, search: SearchConfig) -> optuna.Study:
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    _drop_torn_line(journal)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # kdspark says what happens in its own lines
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return optuna.create_study(
            storage=storage, study_name="search", direction=StudyDirection.MAXIMIZE, load_if_exists=True
        )
    except (json.JSONDecodeError, KeyError, ValueError) as error:
        raise StageError(f"{journal} is damaged ({error}).", f"Remove {folder} to search anew.") from error
    finally:
        optuna.logging.set_verbosity(verbosity)


def _drop_torn_line(journal: Path) -> None:
    """A process killed in mid-write leaves part of a line, which the next line would be glued to."""
    if not journal.exists():
        return
    written = journal.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        with journal.open("r+b") as file:
            file.truncate(len(whole))


def _distribution(field: FieldConfig) -> BaseDistribution:
    if isinstance(field, ChoicesConfig):
        return CategoricalDistribution([text_of(choice) for choice in field.choices])
    if field.whole:
        return IntDistribution(int(field.low), int(field.high), log=field.log, step=int(field.step or 1))
    with warnings.catch_warnings():  # `high` is a whole number of steps away, up to the last bit
        warnings.simplefilter("ignore", UserWarning)
        return FloatDistribution(float(field.low), float(field.high), log=field.log, step=field.step)
