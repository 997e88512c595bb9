"""What runs a trained generator during conversion; torch ships, others are plugins."""
