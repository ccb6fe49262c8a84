"""What goes wrong with documents of the contract."""


class ContractError(ValueError):
    """A document is not what this version of the contract describes."""
