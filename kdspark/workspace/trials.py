"""Where the trials of a search keep their stages: apart from the nights', and only the latest few."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from kdspark.workspace.layout import Workspace
from kdspark.workspace.manifest import Manifest


class TrialWorkspace(Workspace):
    """A workspace whose trials read what the nights below ROOT have finished, and write into a folder of their own.

    What the searched configuration itself builds (the prepared tables, and a teacher that is not searched) goes to
    ROOT: trials share it, and so does a night of that configuration. All else goes to `folder`, where `trim` bounds it.

    Args:
        root: the nights' ROOT.
        folder: of the search.
        shared: keys of the stages that go to ROOT.
    """

    def __init__(self, root: str | Path, folder: Path, shared: Iterable[str]) -> None:
        super().__init__(root)
        self._folder, self._shared = folder, frozenset(shared)

    def home(self, stage: str, key: str) -> Path:
        shared = key in self._shared or (self.root / "stages" / stage / key[:20]).exists()
        return self.root if shared else self._folder

    def finished(self, stage: str, key: str) -> Manifest | None:
        """As of any workspace; a trial's folder that is found counts as used now."""
        found = super().finished(stage, key)
        if found is not None and self.home(stage, key) == self._folder:
            os.utime(self.stage_folder(stage, key))
        return found

    def trim(self, keep: int) -> None:
        """Between trials: remove all but the `keep` folders per stage that were used last, and every checkpoint.

        What a killed process left is gone with them: half-written folders, and checkpoints of a trial decided since.
        """
        shutil.rmtree(self._folder / "checkpoints", ignore_errors=True)
        for stage in (self._folder / "stages").glob("*"):
            folders = sorted(stage.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
            whole = [folder for folder in folders if not folder.name.startswith("staging-")]
            for folder in {*folders} - {*whole[:keep]}:
                shutil.rmtree(folder, ignore_errors=True)
