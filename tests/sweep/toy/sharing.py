"""What the toy app tells the engine of trials that share: see tests/sweep/test_sweep_pack.py."""

from tinyrm.sweep import App


class Sharing(App):
    """Trials of one `g` are akin; those that differ in x, mode or seconds may run together."""

    affinity = ("g",)
    packable = ("x", "mode", "seconds")
