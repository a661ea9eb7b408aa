"""How Dask is reached: installed, quiet, a client of a scheduler, or a cluster of our own."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from diffdecor.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_LOGGER = logging.getLogger(__name__)

#: Loggers of lost connections, and of calls that a signal has interrupted.
_SAID_OTHERWISE = ("distributed.client", "asyncio")
#: Seconds for a local cluster to end.
_STOP = 10.0


def check_installed() -> None:
    """Raise `ConfigError` unless Dask is installed."""
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        msg = f"Dask needs distributed ({error}); pip install 'diffdecor[dask]'"
        raise ConfigError(msg) from None


def connected(address: Any, timeout: float) -> Client:  # noqa: ANN401  an address, or a cluster
    """Return a client of a scheduler."""
    from distributed import Client

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = Client(address, timeout=timeout, set_as_default=False, name="diffdecor")
    for one in caught:
        _LOGGER.warning("Dask: %s", one.message)
    return client


@contextmanager
def local_cluster(number: int, folder: str) -> Iterator[LocalCluster]:
    """Start a scheduler and workers, in this process."""
    import dask.config
    from distributed import LocalCluster

    with dask.config.set({"temporary-directory": folder}):
        cluster = LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            # Tasks have processes of their own. More of them, made by multiprocessing, would die
            # of Ctrl-C while they are being stopped, and import the main module again.
            processes=False,
            # They have servers even without a dashboard: for this machine only, on free ports.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            # The memory that counts is that of our processes, which Dask does not see.
            memory_limit=0,
            silence_logs=logging.ERROR,
        )
    try:
        yield cluster
    finally:
        cluster.close(timeout=_STOP)


@contextmanager
def quiet() -> Iterator[None]:
    """Let Dask log errors only: what becomes of its connections is said in our words."""
    import distributed  # noqa: F401  it sets levels when it is imported

    manager = logging.Logger.manager
    names = [n for n in manager.loggerDict if n.split(".")[0] in {"distributed", "tornado"}]
    loggers = {name: logging.getLogger(name) for name in [*names, *_SAID_OTHERWISE]}
    before = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.setLevel(logging.CRITICAL if name in _SAID_OTHERWISE else logging.ERROR)
    try:
        yield
    finally:
        gc.collect()  # asyncio speaks of what nobody waits for any more when that is collected
        for name, logger in loggers.items():
            logger.setLevel(before[name])
