import json
import os
from pathlib import Path

from model.config import Config


def main() -> None:
    config = Config()
    counts: dict[str, dict[str, int]] = {}
    steps = int(float(os.environ["EVALLOOP_BUDGET"].removesuffix("steps")))
    documents = [path.read_bytes() for path in sorted(Path(os.environ["EVALLOOP_DATA"]).iterdir())]
    for step in range(steps):
        for document in documents[step::steps]:
            for position in range(len(document)):
                for order in range(config.order + 1):
                    if position >= order:
                        context = document[position - order : position].hex()
                        row = counts.setdefault(context, {})
                        key = str(document[position])
                        row[key] = row.get(key, 0) + 1
        with open(os.environ["EVALLOOP_PROGRESS"], "a") as progress:
            progress.write(
                json.dumps({"step": step + 1, "fraction": (step + 1) / steps, "train_bpb": 8.0}) + "\n"
            )
    artifacts = Path(os.environ["EVALLOOP_ARTIFACTS"])
    (artifacts / "counts.json").write_text(json.dumps(counts))
    (artifacts / "config.json").write_text(json.dumps({"order": config.order, "strength": config.strength}))


if __name__ == "__main__":
    main()
