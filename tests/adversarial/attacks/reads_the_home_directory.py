# operation: relu
# target: both
# needs: namespaces
# expect: forbidden_code
# behind the screen: import_error
"""Looks for keys and kernels where people keep them."""

import os
import pwd

found = []
for home in {user.pw_dir for user in pwd.getpwall()} | {"/root", "/home", "/work", "/srv", "/mnt"}:
    if home not in ("/", "/bin", "/dev", "/usr/sbin", "/tmp") and os.path.isdir(home):
        found += [name for name in os.listdir(home) if name not in ("games",)]
if not found:
    raise PermissionError("nobody lives here")


def relu_kernel_impl(x):
    return x.relu()
