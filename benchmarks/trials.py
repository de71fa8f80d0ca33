"""What was tried for fine-tuning on one GPU, from the files it left: `python -m benchmarks.trials` writes the table.

The settings of a trial are chosen by the validation images of one pair of folds: it is tested on fold 0, which nobody
looks at here, and validated on fold 1. Of the settings that came out best, all five folds were trained.
"""

from pathlib import Path

import pandas as pd

from benchmarks.__main__ import PAGE, updated
from benchmarks.measurement import markdown
from skinlesions.core import config, files
from skinlesions.data import predictions
from skinlesions.evaluation import metrics

FOLDER = Path(__file__).with_name("fine_tuning")

# Epochs whose validation scores are averaged, lest one lucky epoch decide.
BEST = 3


def trials() -> pd.DataFrame:
    """The trials, best first: their settings, and the mean of their best validation scores."""
    models = config.read_yaml(FOLDER / "params.yaml")["models"]
    rows = []
    for path in sorted(FOLDER.glob("history_try_*.csv")):
        settings = models[path.stem.removeprefix("history_")]
        history = pd.read_csv(path).query("phase == 2")
        score = history["val_balanced_accuracy"].nlargest(BEST).mean()
        rows.append(
            {
                "backbone": Path(settings["inputs"]).stem,
                "learning rate": f"{history['learning_rate'].max():.2g}",
                "mixup": settings["fine_tune"].get("mixup", 0),
                "epochs": history["epoch"].max(),
                "validation balanced accuracy": round(score, 3),
            }
        )
    return pd.DataFrame(rows).sort_values("validation balanced accuracy", ascending=False).astype(str)


def five_folds() -> pd.DataFrame:
    """What all five folds of each model came to, out of fold."""
    rows = []
    for path in sorted(FOLDER.glob("*/training.json")):
        record = files.read_json(path)
        test = predictions.select(predictions.read(path.with_name("predictions.csv.gz")), "test")
        scores = metrics.summary(predictions.labels(test), metrics.softmax(predictions.logits(test)))
        rows.append(
            {
                "model": path.parent.name,
                "balanced accuracy": f"{scores['balanced_accuracy']:.3f}",
                "macro AUC": f"{scores['macro_auc']:.3f}",
                "negative log-likelihood": f"{scores['nll']:.3f}",
                "minutes": f"{record['seconds'] / 60:.0f}",
                "by": f"{record['backend']} {record['jax']} on one {record['device'].partition(' 80GB')[0]}",
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Write both tables into the page."""
    text = f"Trials:\n\n{markdown(trials())}\n\nFive folds:\n\n{markdown(five_folds())}"
    files.write_text(PAGE, updated(PAGE.read_text(encoding="utf-8"), "trials", text))


if __name__ == "__main__":
    main()
