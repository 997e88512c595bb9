"""OpenVINO engines for sim2real."""
