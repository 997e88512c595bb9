"""sim2real conversions on a Ray cluster."""
