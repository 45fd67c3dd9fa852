"""Weights and activations of 8 bits: calibrated on training images, measured against the float network, or refused."""
