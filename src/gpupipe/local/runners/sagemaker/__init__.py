"""Plays SageMaker's hosting: containers, requests to them, scaling."""
