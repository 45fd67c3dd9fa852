"""A clock that the test winds itself, and networks that take as long as the test says."""

import random


class WindingClock:
    """Time passes only where a call says so.

    Args:
        speed: Factor of all durations at a time in seconds: what a machine does that gets hot.
    """

    def __init__(self, speed=lambda _: 1.0):
        self.now = 0.0
        self.speed = speed
        self.called = []

    def __call__(self):
        return self.now

    def taking(self, name, milliseconds):
        """Make a call; `milliseconds` is a number, or a function of how often the call was made before."""

        def call():
            count = self.called.count(name) if callable(milliseconds) else 0
            self.called.append(name)
            wanted = milliseconds(count) if callable(milliseconds) else milliseconds
            self.now += wanted / 1000 * self.speed(self.now)

        return call

    def noisy(self, name, milliseconds, seed, spread=0.05, outliers=0.0):
        """Make a call whose time scatters; now and then it takes ten times as long."""
        chance = random.Random(seed)

        def call():
            self.called.append(name)
            factor = 10.0 if chance.random() < outliers else chance.lognormvariate(0, spread)
            self.now += milliseconds / 1000 * factor * self.speed(self.now)

        return call
