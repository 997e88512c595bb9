"""The hooks of this package. Imported at every start of sim2real, so heavy imports do not belong here."""

from sim2real import Register, hookimpl


@hookimpl
def register_engines(register: Register) -> None:
    """Offer the engines ``openvino`` and ``openvino-int8``."""
    register("openvino", "sim2real_openvino.engine:OpenVinoEngine", summary="OpenVINO on the CPU, fp32 or bf16")
    register(
        "openvino-int8",
        "sim2real_openvino.int8:Int8Engine",
        summary="OpenVINO on the CPU, 8-bit integers calibrated on your own frames",
    )
