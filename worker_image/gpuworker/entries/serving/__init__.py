"""The worker behind HTTP, by SageMaker's contract: `GET /ping` and `POST /invocations`."""
