"""From what is asked to what it takes: gateways, Redis, network, GPUs. Pure arithmetic on measured figures and published shapes of models.

`figures` holds what was measured of Sightline itself, `models` what is published of checkpoints and GPUs, `speed` estimates an engine that
nobody has measured, `plan` puts them together for `sightline plan`. Nothing here is imported by the gateway.
"""
