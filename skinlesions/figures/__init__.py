"""Figures. Each function takes tables and arrays and returns a matplotlib Figure; `style` saves it."""
