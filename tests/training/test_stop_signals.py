"""One signal, two and three, before and in the middle of writing."""

import signal

import pytest

from leannet.training.runs import Stopped, StopSignals

INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture
def signals():
    with StopSignals() as signals:
        signals.postponed = True
        yield signals


def test_first_is_noted_and_second_ends(signals):
    signal.raise_signal(INT)
    assert signals.received == INT
    with pytest.raises(Stopped) as caught:
        signal.raise_signal(TERM)
    assert caught.value.signal_number == TERM


def test_first_ends_where_there_is_nothing_to_keep():
    with StopSignals(), pytest.raises(Stopped):
        signal.raise_signal(INT)


def test_first_in_the_middle_of_writing_is_noted_only(signals):
    with signals.writing():
        signal.raise_signal(TERM)
    assert signals.received == TERM


@pytest.mark.parametrize("later", [(TERM,), (TERM, TERM), (INT, TERM)])
def test_further_ones_wait_for_the_end_of_writing(signals, later):
    done = []

    def write():
        with signals.writing():
            for number in later:
                signal.raise_signal(number)
            done.append("written")

    signal.raise_signal(INT)
    with pytest.raises(Stopped) as caught:
        write()
    assert done == ["written"]
    assert caught.value.signal_number == TERM


def test_failure_of_writing_gets_through(signals):
    def fail():
        with signals.writing():
            signal.raise_signal(INT)
            raise OSError("full")

    signal.raise_signal(INT)
    with pytest.raises(OSError, match="full"):
        fail()
    with pytest.raises(Stopped):  # and the protection is over
        signal.raise_signal(INT)


def test_handlers_are_put_back():
    before = signal.getsignal(INT), signal.getsignal(TERM)
    with StopSignals():
        assert signal.getsignal(INT) not in before
    assert (signal.getsignal(INT), signal.getsignal(TERM)) == before
