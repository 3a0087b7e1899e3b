"""The channels over which pages are sent: one module per channel, one protocol for all."""
