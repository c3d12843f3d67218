"""Widgets for notebooks and dashboards: launch, follow, register, roll out. Each shows what it is given."""
