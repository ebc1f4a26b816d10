# operation: relu
# target: cpu
# needs: seccomp
# expect: forbidden_code
# behind the screen: import_error
"""A shell that would live on."""

import subprocess

subprocess.Popen(["sleep", "600"], start_new_session=True)


def relu_kernel_impl(x):
    return x.relu()
