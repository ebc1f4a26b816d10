"""The closed list of reasons for which a candidate is not accepted.

- One failure, one ``ErrorType``: the first stage that fails names it.
- The value (not the name) is what Redis, prompts, reports and the CLI show.
- Faults of the infrastructure are deliberately absent: they are retried and never become a verdict.
"""

from enum import Enum


class ErrorType(str, Enum):
    """Why a candidate was rejected. Ordered by the stage that finds it, cheap first."""

    # parse and screen
    SYNTAX_ERROR = "syntax_error"
    MISSING_FUNCTION = "missing_function"
    FORBIDDEN_CODE = "forbidden_code"  # does what no kernel needs: files, sockets, introspection
    LIBRARY_CALL = "library_call"  # lets torch (or another library) compute the answer
    # compile
    IMPORT_ERROR = "import_error"  # the module does not load
    COMPILE_ERROR = "compile_error"  # Triton, Numba or nvcc refuses the kernel
    # run
    RUNTIME_ERROR = "runtime_error"
    ILLEGAL_MEMORY_ACCESS = "illegal_memory_access"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CRASH = "crash"  # the process died: a signal, or an exit nobody asked for
    # correctness
    WRONG_STRUCTURE = "wrong_structure"  # not a tensor, or not as many outputs
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    WRONG_STRIDES = "wrong_strides"  # elements that share memory with each other
    WRONG_VALUES = "wrong_values"
    WRONG_NONFINITE = "wrong_nonfinite"  # NaN or inf where the reference has none, or the reverse
    LOW_PRECISION = "low_precision"  # right but less accurate than eager allows
    INPUT_MODIFIED = "input_modified"
    ALIASED_OUTPUT = "aliased_output"  # returns an input or a buffer that it reuses
    NONDETERMINISTIC = "nondeterministic"  # a repeated call, or a fresh process, disagrees
    # honesty
    CLOCK_TAMPERING = "clock_tampering"
    FASTER_THAN_PHYSICS = "faster_than_physics"
    LEFTOVER_WORK = "leftover_work"  # work, threads or processes that outlive the call
    PROTOCOL_VIOLATION = "protocol_violation"  # the candidate's process sent what the harness never sends
    # repeatedly took the worker down with it
    KILLED_WORKER = "killed_worker"
