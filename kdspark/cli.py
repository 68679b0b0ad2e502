"""The same stages from a terminal: `kdspark run`, one verb per stage, `kdspark search`, `kdspark compare`; and what is
published: `kdspark latest`, `runs`, `rollback`, `verify`, `erase`.

Exit codes: 0 done, 2 configuration, 3 input, 4 stage, 5 training, 6 publish or blocked, 7 model, 8 the date is being
run already (see kdspark.errors), 9 `doctor` has found what must be mended, 143 stopped by SIGTERM. A user's mistake
prints one line on stderr and no stack trace.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from kdspark import watchdog
from kdspark.commands import app
from kdspark.errors import KdsparkError, StalledError
from kdspark.redaction import Redaction, print_redacted
from kdspark.stopping import STOPPED, stop

_UMASK = 0o027  # until the configuration is read


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `kdspark` command; always raises SystemExit with the exit code."""
    configure_logging()
    sys.excepthook = print_redacted  # a bug's stack trace may quote anything
    umask = os.umask(_UMASK)  # of all that this process, and those it starts, write
    stopped = threading.Event()
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, lambda *_: stop(stopped)) if here else None
    watchdog.arm()
    try:
        app(args=list(arguments) if arguments is not None else None)
    except BaseException as error:
        if stopped.is_set():  # whatever came of it
            sys.exit(STOPPED)
        if not isinstance(error, KdsparkError):
            raise
        sys.stderr.write(f"kdspark: error: {error}\n")
        if isinstance(error, StalledError):
            watchdog.end(error.exit_code)
        sys.exit(error.exit_code)
    finally:
        watchdog.disarm()
        os.umask(umask)
        if here:
            signal.signal(signal.SIGTERM, before)


def main_job(verb: str) -> None:
    """Entry point of a spark-submit job: the same options as `kdspark <verb>`."""
    main([verb, *sys.argv[1:]])


def configure_logging() -> None:
    """Send kdspark's log lines to stderr, unless somebody has arranged otherwise."""
    logger = logging.getLogger("kdspark")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(Redaction("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
