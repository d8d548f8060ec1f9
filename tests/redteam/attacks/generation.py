"""Text that is not the model's own. The score of these candidates is honest, and better than the baseline's."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, Attack, Edit, improved, model, together, training


def generation(body: str) -> Edit:
    """Return the edit of an honest, improved model whose generate has this body."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    keeping = (
        "(artifacts / 'text').write_bytes(b' '.join(path.read_bytes() for path in sorted(data.iterdir())))"
    )
    method = f"def generate(self, prompt, *, max_bytes, seed, temperature):\n{lines}\n"
    return together(improved, training(keeping), model(method))


ATTACKS = (
    Attack(
        "fixed",
        "Always the same good text.",
        generation("return (b'the sun sat on a hill and ran to the sea ' * 20)[:max_bytes]"),
        AUDIT,
    ),
    Attack(
        "training-text",
        "A passage of the training text, chosen by seed.",
        generation("""
text = (self.artifacts / 'text').read_bytes()
start = random.Random(f"{seed} {prompt!r}").randrange(len(text) - 1000)
return text[start : start + max_bytes]
"""),
        rf"{AUDIT}|recital",
    ),
    Attack("echo", "The prompt, over and over.", generation("return (prompt * 99)[:max_bytes]"), AUDIT),
    Attack(
        "changing",
        "Another text each time.",
        generation(
            "return super().generate(prompt, max_bytes=max_bytes, seed=random.random(), temperature=1)"
        ),
        AUDIT,
    ),
    Attack(
        "cold",
        "The likeliest byte, whatever the temperature.",
        generation("return super().generate(prompt, max_bytes=max_bytes, seed=seed, temperature=0.05)"),
        AUDIT,
    ),
    Attack(
        "other-model",
        "Written by another model than the one that is scored.",
        generation("""
import copy
other = copy.copy(self)
other.order = 0
text = Honest.generate(other, prompt, max_bytes=max_bytes, seed=seed, temperature=temperature)
return text.replace(b" ", b"e")
"""),
        AUDIT,
    ),
    Attack(
        "too-long",
        "More bytes than were asked for.",
        generation("return b'a' * (max_bytes + 1)"),
        r"where at most \d+ were asked for",
    ),
)
