"""OpenVINO, imported so that it tells nobody: the rest of the package takes it, and NNCF after it, from here.

Both report their import and each conversion of a model to Google Analytics through the package openvino_telemetry. They
do without it where it cannot be imported (``openvino.tools.ovc.telemetry_stub``), and an empty module of that name is
that, for this process alone, whatever the user's home folder or environment says.
"""

import sys
from types import ModuleType

sys.modules["openvino_telemetry"] = ModuleType("openvino_telemetry")

import openvino  # type: ignore[import-untyped]  # noqa: E402  it ships no types; and not before the line above
from openvino import opset13 as ops  # noqa: E402  likewise

__all__ = ["openvino", "ops"]
