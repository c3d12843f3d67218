"""Stands in for `dure.execution` where papermill and a kernel, which need seconds, are beside the point.

It runs the code cells one after another in this process, with the parameters set after the cell tagged so.
"""

import json
import os
import sys
from pathlib import Path


def main() -> int:
    asked = json.loads(Path(os.environ["DURE_EXECUTION_FILE"]).read_text())
    outputs = Path(asked["outputs"])
    notebook = json.loads(Path(asked["notebook"]).read_text())
    names = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"], 1):
        try:
            exec(cell["source"], names)  # noqa: S102 - that is what a notebook is
        except Exception as error:  # noqa: BLE001 - whatever a cell raises ends the notebook
            told = {"state": "failed", "cell": number, "source": cell["source"].partition("\n")[0]}
            told |= {"error": type(error).__name__, "message": str(error)}
            (outputs / "result.json").write_text(json.dumps(told))
            return 1
        if "parameters" in cell["metadata"].get("tags", []):
            names.update(asked["parameters"])
        (outputs / "executed.ipynb").write_text(json.dumps(notebook))
    (outputs / "result.json").write_text(json.dumps({"state": "succeeded"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
