import math
import operator
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from axolotl_grpo_plugin.limits import TooSlow, call


def test_returns_the_result_and_raises_the_error_of_the_function():
    assert call(math.sqrt, 4.0, seconds=5) == 2.0
    with pytest.raises(ValueError, match="math domain error"):
        call(math.sqrt, -1.0, seconds=5)


def test_cpu_time_in_c_code_is_too_slow_and_the_next_call_works():
    with pytest.raises(TooSlow, match=r"more than 0.2 s of CPU time"):
        call(operator.pow, 3, 10**9, seconds=0.2)
    assert call(math.sqrt, 9.0, seconds=5) == 3.0


def test_waiting_is_no_cpu_time():
    with pytest.raises(TimeoutError):
        call(time.sleep, 1000, seconds=0.1)


def test_a_helper_that_dies_is_replaced():
    with pytest.raises(RuntimeError, match="exit code 3"):
        call(os._exit, 3, seconds=5)
    assert call(math.sqrt, 9.0, seconds=5) == 3.0


def test_a_profilers_timer_is_no_limit():
    signal.signal(signal.SIGPROF, lambda *_: None)
    signal.setitimer(signal.ITIMER_PROF, 1000)
    try:
        assert call(os.getpid, seconds=5) != os.getpid()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def test_threads_share_the_helper():
    with ThreadPoolExecutor(4) as threads:
        results = threads.map(lambda n: call(math.sqrt, n * n, seconds=5), range(20))
    assert list(results) == list(range(20))
