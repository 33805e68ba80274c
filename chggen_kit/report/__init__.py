"""Results as one page that opens from disk: `report.html` of a benchmark or of a run (docs/report.md).

from pathlib import Path
from chggen_kit.report.write import write_report
write_report(Path("runs/ZnP2S6-seed0"))
"""
