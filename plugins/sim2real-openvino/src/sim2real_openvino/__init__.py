"""OpenVINO as an engine of sim2real."""
