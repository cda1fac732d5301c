"""Trials as the app finds, orders and words them."""
