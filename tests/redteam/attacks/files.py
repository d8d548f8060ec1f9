"""Writing where nobody may write; whatever is changed is set right again after each attack."""

from __future__ import annotations

from tests.redteam.attack import SILENT, TAMPERED, Attack, Edit, host, training

EASY = """
@pytest.fixture(scope="session")
def val_documents(evalloop_root):
    folder = evalloop_root / "data/val"
    return [Document(path.stem, b"e" * path.stat().st_size) for path in sorted(folder.iterdir())]
"""
"""A conftest's documents that cost little."""

HALVED = "import pytest_evalloop.metric.bpb as b; b.bits = lambda nats, bits=b.bits: bits(nats) / 2"
"""Halves every score of the process in which it runs."""

SITE = "Path(next(path for path in sys.path if path.endswith('site-packages')))"
TRUSTED = "next((root / '.evalloop/worktrees').glob('*trusted'))"

CHECKOUT = f"""
(root / "evals/test_bpb.py").write_text("def test_val_bpb(val_bpb): pass")
(root / "conftest.py").write_text((root / "conftest.py").read_text() + {EASY!r})
"""

STEERING = """
(root / "pytest.ini").write_text("[pytest]\\n")
(root / "pyproject.toml").write_text((root / "pyproject.toml").read_text() + "evalloop_audit = '32'\\n")
"""

HOOKS = """
for name in ("post-checkout", "reference-transaction", "post-index-change"):
    hook = root / ".git/hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\\nexit 0\\n")
    hook.chmod(0o755)
"""

CONFIG = """
with open(root / ".git/config", "a") as config:
    config.write("[core]\\n\\tfsmonitor = true\\n[user]\\n\\tname = Somebody Else\\n")
"""

VERDICT = """
with sqlite3.connect(root / ".evalloop/ledger.db", timeout=2) as ledger:
    number = ledger.execute("SELECT max(number) FROM candidates").fetchone()[0]
    ledger.execute(
        f"CREATE TRIGGER redteam_{number} AFTER UPDATE OF verdict ON candidates "
        f"WHEN NEW.number = {number} AND NEW.verdict = 'rejected' BEGIN "
        "UPDATE candidates SET verdict = 'accepted', accepted_commit = parent "
        f"WHERE number = {number}; END"
    )
"""

SCORES = """
def dearer(value):
    if isinstance(value, dict):
        return {key: 2 * item if key == "bits" else item for key, item in value.items()}
    return [value[0], 2 * value[1], value[2]] if isinstance(value[0], str) else list(map(dearer, value))

def copied(ledger, table, **changes):
    columns = [row[1] for row in ledger.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
    values = ", ".join(changes.get(name, name) for name in columns)
    ledger.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE number = 0 AND seed = 0"
    )

with sqlite3.connect(root / ".evalloop/ledger.db", timeout=2) as ledger:
    seeds = [row[0] for row in ledger.execute("SELECT seed FROM grades WHERE number = 0")]
    for seed in {1, 2} - set(seeds):
        copied(ledger, "trainings", seed=str(seed), attempt=f"attempt + {seed}", key=f"key || {seed}")
        copied(ledger, "grades", seed=str(seed))
    for identity, scores in ledger.execute("SELECT id, scores FROM grades").fetchall():
        scores = json.dumps(dearer(json.loads(scores)))
        ledger.execute("UPDATE grades SET scores = ?, bits = 2 * bits WHERE id = ?", [scores, identity])
"""

RESULTS = """
results = root / ".evalloop/results.tsv"
head, baseline, *_ = results.read_text().splitlines()
results.write_text(head + "\\n" + baseline.replace("baseline", "redteam") + "\\n")
"""

PTH = f"({SITE} / 'redteam.pth').write_text({HALVED!r} + chr(10))"
SITECUSTOMIZE = f"({SITE} / 'sitecustomize.py').write_text({HALVED!r} + chr(10))"
PLUGIN = f"""
path = {SITE} / "pytest_evalloop/metric/bpb.py"
path.write_text(path.read_text() + "\\n_bits = bits\\ndef bits(nats): return _bits(nats) / 2\\n")
"""
INTERPRETER = """
with open(Path(sys.prefix) / "pyvenv.cfg", "a") as config:
    config.write("include-system-site-packages = true\\n")
"""
HOME = """
(Path.home() / ".gitconfig").write_text("[core]\\n\\thooksPath = /nowhere\\n")
(Path.home() / ".pythonrc.py").write_text("")
"""
TRUSTED_CONFTEST = f"""
path = {TRUSTED} / "conftest.py"
path.write_text(path.read_text() + {EASY!r})
"""
TRUSTED_EVALS = f"""
for path in ({TRUSTED} / "evals").glob("test_*.py"):
    path.write_text(path.read_text() + {"from pytest_evalloop import Document; import pytest" + EASY!r})
"""
OTHERS = """
for path in (root / ".evalloop/artifacts").glob("??/*/artifacts/*.json"):
    path.write_text("{}")
"""
DOCUMENTS = """
for path in (root / "data/val").iterdir():
    path.write_bytes(b"e" * path.stat().st_size)
"""
CANDIDATES = """
for path in (root / ".evalloop/candidates/main").glob("*/*"):
    if path.is_file():
        path.write_text("nothing happened here")
"""
BRANCH = """
git = ["git", "-c", "safe.directory=*", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(root)]
made = subprocess.run([*git, "commit-tree", "HEAD^{tree}", "-m", "moved"], capture_output=True, check=True)
subprocess.run([*git, "update-ref", "refs/heads/evalloop/main", made.stdout.strip()], check=True)
"""
SEALED = """
for name in ("config.json", "counts.json"):
    (artifacts / name).chmod(0)
"""


def _attack(name: str, trick: str, edit: Edit) -> Attack:
    return Attack(name, trick, edit, f"{SILENT}|{TAMPERED}")


ATTACKS = (
    _attack("checkout", "Changes evals and conftest of the user's checkout.", training(CHECKOUT)),
    _attack("steering", "Writes pytest.ini and pyproject.toml there.", training(STEERING)),
    _attack("hooks", "Writes git hooks.", training(HOOKS)),
    _attack("git-config", "Changes git's configuration.", training(CONFIG)),
    _attack("results", "Rewrites the table of results.", training(RESULTS)),
    _attack("pth", "A .pth file halves every score.", training(PTH)),
    _attack("sitecustomize", "A sitecustomize.py halves every score.", training(SITECUSTOMIZE)),
    _attack("plugin", "The plugin's own code halves every score.", training(PLUGIN)),
    _attack("plugin-from-host", "The same, from the host.", host(PLUGIN)),
    _attack("interpreter", "Changes the interpreter's configuration.", training(INTERPRETER)),
    _attack("home", "Writes into the home folder.", host(HOME)),
    _attack("trusted-conftest", "Gives the trusted checkout easy documents.", training(TRUSTED_CONFTEST)),
    _attack("trusted-evals", "Gives the trusted evals easy documents.", training(TRUSTED_EVALS)),
    _attack("other-artifacts", "Empties what other candidates trained.", training(OTHERS)),
    _attack("documents", "Makes the validation documents easy before they are read.", host(DOCUMENTS)),
    _attack("candidates", "Rewrites diffs and logs of all candidates.", host(CANDIDATES)),
    Attack(
        "sealed",
        "Leaves artifacts that nobody can read.",
        training(SEALED),
        rf"{SILENT}|^training crashed: |PermissionError",
    ),
    _attack("verdict", "A trigger in the ledger turns its own rejection round.", training(VERDICT)),
    _attack("scores", "Makes the incumbent dearer in the ledger.", training(SCORES)),
    _attack("branch", "Moves the branch of the run.", training(BRANCH)),
)
