"""Run folders, manifests and the published pointer: everything kdspark knows about its own disk layout.

ROOT/stages/<stage>/<key>/         a finished stage: its tables or models, and manifest.json, written last.
                                   The key is a digest of inputs, configuration, seed and version, so a stage
                                   with unchanged inputs finds its own output again.
ROOT/runs/<date>/<run_id>/         one night: run.json (stage -> folder), comparison.json, report.html,
                                   metrics.prom
ROOT/health/                       a table with a row per run, kept for good
ROOT/metrics.prom                  figures of the run that ended last, for Prometheus
ROOT/published/<date>/<run_id>/    recommendations/ and manifest.json; never changed once visible
ROOT/search/<name>-<digest>/       one search: journal.log (its trials), search.json, report.html, best.yaml,
                                   and the stages of its latest trials
ROOT/latest.json                   the pointer to the newest published run; replaced by an atomic rename
ROOT/leases/<date>.json            who works on a date; leases/erase.json: who erases users
ROOT/erased/                       keyed hashes of the users that were erased, and their key
ROOT/receipts/                     what each `kdspark erase` did

`published/` and `latest.json` may lie in another store, any file system that Hadoop knows (`publish.to`).
"""

from kdspark.workspace.erased import ErasedUsers
from kdspark.workspace.files import (
    described,
    digest_of,
    link_or_copy,
    read_json,
    sealed,
    sha256_file,
    unsealed,
    write_bytes,
    write_json,
)
from kdspark.workspace.layout import Workspace
from kdspark.workspace.lease import Lease, held, refuse_held
from kdspark.workspace.lock import exclusive
from kdspark.workspace.manifest import Manifest
from kdspark.workspace.paths import inside, parse_date
from kdspark.workspace.published import Publication, Published
from kdspark.workspace.scratch import remove_left_scratch, scratch, scratch_until_exit
from kdspark.workspace.store import LocalStore, Store
from kdspark.workspace.trials import TrialWorkspace

__all__ = [
    "ErasedUsers",
    "Lease",
    "LocalStore",
    "Manifest",
    "Publication",
    "Published",
    "Store",
    "TrialWorkspace",
    "Workspace",
    "described",
    "digest_of",
    "exclusive",
    "held",
    "inside",
    "link_or_copy",
    "parse_date",
    "read_json",
    "refuse_held",
    "remove_left_scratch",
    "scratch",
    "scratch_until_exit",
    "sealed",
    "sha256_file",
    "unsealed",
    "write_bytes",
    "write_json",
]
