"""The process of a `worker.Worker`: does one order after another until its parent is gone."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue

from diffdecor import process, signals
from diffdecor.batch.model import Ended, Order
from diffdecor.words import of_commands

#: Seconds that a task may take to leave nothing behind when the parent is gone.
_GRACE = 1.5
#: Seconds after which an idle process looks for signals.
_LOOKED = 1.0
_SIGNALS = ("SIGTERM", "SIGHUP")


def serve(connection: Connection, target: str) -> None:
    """Do every order that comes, by the function ``module:name``, and send back what came of it.

    A signal ends the process as it ends ``diffdecor run``: no further order is served after it.
    """
    # Ctrl-C reaches every process of a terminal: the parent decides what is to become of us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.set_inheritable(connection.fileno(), False)
    signals.heed(*_SIGNALS)
    process.begin()
    try:
        orders: SimpleQueue[Order | None] = SimpleQueue()
        threading.Thread(target=_receive, args=(connection, orders), daemon=True).start()
        process.do_without_home()
        do = _function(target)
        process.begin_work()
        _send(connection, None)  # we are ready
        with of_commands():
            while (order := _next(orders)) is not None:
                _answer(connection, do(order))
    except BaseException:
        signals.check()
        raise
    finally:
        signals.ignore(*_SIGNALS)
        gc.freeze()


def _function(target: str) -> Callable[[Order], Ended]:
    module, _, name = target.partition(":")
    function: Callable[[Order], Ended] = getattr(import_module(module), name)
    return function


def _next(orders: SimpleQueue[Order | None]) -> Order | None:
    """Wait for an order, and for signals, which Python misses at the moment when it begins to."""
    while True:
        with suppress(Empty):
            return orders.get(timeout=_LOOKED)


def _answer(connection: Connection, ended: Ended) -> None:
    """Say what came of an order, and whether a signal that was lost on the way ends us now."""
    _send(connection, (ended, signals.received() is not None))
    signals.check()


def _send(connection: Connection, what: object) -> None:
    """Tell the parent; end quietly if it is gone."""
    try:
        connection.send(what)
    except OSError:
        raise SystemExit(128 + signal.SIGTERM) from None


def _receive(connection: Connection, orders: SimpleQueue[Order | None]) -> None:
    """Pass on orders; once the parent is gone, end the process, whatever it is at."""
    try:
        while True:
            orders.put(connection.recv())
    except (EOFError, OSError):
        orders.put(None)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(128 + signal.SIGTERM)
