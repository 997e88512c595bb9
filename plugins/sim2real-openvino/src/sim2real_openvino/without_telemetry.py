"""Import OpenVINO with its telemetry disabled; all modules of this package import it from here, before NNCF.

Both report their import and each model conversion to Google Analytics through the package openvino_telemetry. They
work without it if it cannot be imported (``openvino.tools.ovc.telemetry_stub``). An empty module of that name has this
effect for this process alone, whatever the user's home folder or environment says.
"""

import sys
from types import ModuleType

sys.modules["openvino_telemetry"] = ModuleType("openvino_telemetry")

import openvino  # type: ignore[import-untyped]  # noqa: E402  it ships no types; must follow the line above
from openvino import opset13 as ops  # noqa: E402  as above

__all__ = ["openvino", "ops"]
