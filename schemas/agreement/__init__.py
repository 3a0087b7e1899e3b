"""The shape of `agreement.yaml`, one module for each section or group of sections."""
