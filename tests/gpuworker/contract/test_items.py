"""What every step knows of an item; who needs none of it does not read it."""

import subprocess
import sys

from gpuworker.contract.items import ItemError


def test_a_failure_has_its_word_and_its_sentence() -> None:
    error = ItemError("too_large", "the file has 9 bytes; the limit is 8")

    assert (error.code, error.message, str(error)) == ("too_large", error.message, error.message)


def test_commands_and_functions_that_read_the_contract_do_not_read_it() -> None:
    code = "import sys, gpuworker.contract, gpuworker.ledger; sys.exit('gpuworker.contract.items' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
