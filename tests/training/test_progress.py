from afnet_jax.training.progress import Progress


def test_where_nothing_is_left_all_is_done(capsys):
    """A run that was stopped after its last step has only its evaluation to do."""
    progress = Progress(40, 1)
    progress.skip(40)
    progress.line("epoch 2/2")
    assert "100 % done  ETA 0 s" in capsys.readouterr().err


def test_rate_and_time_left(capsys):
    progress = Progress(40, 1)
    progress.add(10, 5.0)
    progress.line("epoch 1/2")
    assert "2 scans/s  25 % done  ETA 15 s" in capsys.readouterr().err
