import subprocess
import sys

HEAVY = ("torch", "transformers", "numpy", "datasets", "pyarrow", "matplotlib", "pydantic")


def test_help_imports_no_heavy_package():
    code = (
        "import sys; from luce.cli.main import run; run(['--help']); run(['train', '--help']); "
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "train" in shown.stdout
    assert shown.stderr.strip() == "[]"
