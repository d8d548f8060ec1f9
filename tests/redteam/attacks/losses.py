"""Numbers that are no costs, or that stop being the honest ones on their way."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, COST, RAISED, SHAPE, Attack, costs

ATTACKS = (
    Attack("zero", "Every token costs nothing.", costs("costs * 0"), AUDIT),
    Attack("negative", "Every token costs less than nothing.", costs("-costs"), COST),
    Attack("one-negative", "A single token pays back a fortune.", costs("np.r_[-1e4, costs[1:]]"), COST),
    Attack("denormal", "Costs underflow to the smallest numbers there are.", costs("costs * 1e-310"), AUDIT),
    Attack("nan", "A NaN compares as false with every limit.", costs("costs * float('nan')"), COST),
    Attack("infinite", "Minus infinity is below every limit.", costs("costs - np.inf"), COST),
    Attack("huge", "Finite costs add up to infinity.", costs("costs * 0 + 1e308"), COST),
    Attack("complex", "The real part is zero and the rest imaginary.", costs("costs * 1j"), COST),
    Attack("strings", "Costs are words that parse as zero.", costs("['0'] * len(costs)"), COST),
    Attack("truths", "Costs are booleans.", costs("costs < 0"), COST),
    Attack("whole-numbers", "Costs are rounded down to whole nats.", costs("costs.astype(int)"), AUDIT),
    Attack("bytes-wrap", "Costs wrap around in eight bits.", costs("(costs * 64).astype('u1') / 64"), AUDIT),
    Attack(
        "float16",
        "Costs overflow in half precision.",
        costs("(costs * 1e5).astype('f2') if len(costs) else costs"),
        COST,
    ),
    Attack(
        "float16-underflow", "Costs vanish in half precision.", costs("(costs / 1e8).astype('f2')"), AUDIT
    ),
    Attack("column", "The costs stand in a column.", costs("costs[:, None] * 0"), SHAPE),
    Attack("too-few", "The dearest tokens are left out.", costs("np.sort(costs)[:-20]"), SHAPE),
    Attack("one-number", "A document has one cost in all.", costs("costs.mean()"), SHAPE),
    Attack(
        "subclass",
        "A subclass of ndarray shows other numbers to whoever converts it.",
        costs(
            "Two(costs)",
            top="""
            class Two(list):
                def __array__(self, *_, **__):
                    import numpy as np
                    return np.zeros(len(self))
            """,
        ),
        AUDIT,
    ),
    Attack(
        "raising",
        "An array raises an exception that is no Exception.",
        costs("exec('raise KeyboardInterrupt')"),
        RAISED + r"|ended|closed",
    ),
)
