"""How far a bench is, where there is no terminal."""

from types import SimpleNamespace

from leannet_cli.bench import progress as module


def test_now_and_then_a_line_says_what_is_left(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    setting = SimpleNamespace(title=lambda: "eager, batch 1")
    progress = module.BenchProgress()
    for now, done in ((1.0, 0), (31.0, 0), (40.0, 1), (71.0, 4), (72.0, 5)):  # noqa: B007 -- read by the clock
        progress.timing(setting, done, 10)
    assert capsys.readouterr().err.splitlines() == [
        "  eager, batch 1, round 0 of 10: warming up",
        "  eager, batch 1, round 4 of 10: 1 min 0 s left",
    ]
