"""A package of its own: a dependency of the SageMaker SDK installs one of the same name, which would come first."""
