"""The one place where names of Redis keys are made.

- The names in the first block are a promise to users, who type them into redis-cli: they never change.
- No other module and no Lua script builds a name: scripts receive every key that they touch. A Redis
  Cluster variant (hash tags) is therefore a change of this file alone.
- A queue is named by its list key (``eval_queue``, ``generation_queue``); its bookkeeping hangs on that name.
"""

from __future__ import annotations


class Keys:
    """Names of all keys. Stateless; every method returns the full name."""

    # -- fixed -----------------------------------------------------------------------------------------
    EVAL_QUEUE = "eval_queue"
    """list: JSON of EvaluationTask."""
    GENERATION_QUEUE = "generation_queue"
    """list: JSON of GenerationTask."""
    COMPLETED_TASKS = "completed_tasks"
    """list: JSON results, newest first, capped."""

    @staticmethod
    def kernel(operation: str, hash: str) -> str:
        """hash: code, correct, speedup, error, timestamp and the rest of the verdict."""
        return f"kernel:{operation}:{hash}"

    @staticmethod
    def op_kernels(operation: str) -> str:
        """set: hashes of every judged kernel."""
        return f"op_kernels:{operation}"

    @staticmethod
    def op_stats(operation: str) -> str:
        """hash: total, successful, best_speedup, avg_speedup and further counters, over all runs."""
        return f"op_stats:{operation}"

    @staticmethod
    def shutdown(worker_id: str) -> str:
        """string: its existence asks that worker to finish its task and leave."""
        return f"shutdown:{worker_id}"

    SHUTDOWN_PATTERN = "shutdown:*"

    @staticmethod
    def worker(worker_id: str) -> str:
        """hash with an expiry: role, host, pid, device, state, task, heartbeat."""
        return f"worker:{worker_id}"

    # -- queues ----------------------------------------------------------------------------------------
    @staticmethod
    def lease(queue: str) -> str:
        """zset: task id -> expiry, milliseconds by Redis TIME."""
        return f"lease:{queue}"

    @staticmethod
    def claimed(queue: str) -> str:
        """hash: task id -> JSON of holder, time and payload."""
        return f"claimed:{queue}"

    @staticmethod
    def attempts(queue: str) -> str:
        """hash: task id -> how many claims ended neither in a commit nor in a release."""
        return f"attempts:{queue}"

    @staticmethod
    def faults(queue: str) -> str:
        """hash: task id -> how often infrastructure failed it."""
        return f"faults:{queue}"

    @staticmethod
    def malformed(queue: str) -> str:
        """list, capped: what was found in the queue and is no task."""
        return f"malformed:{queue}"

    @staticmethod
    def receipt(queue: str, worker_id: str) -> str:
        """string with an expiry: the last claim of a worker, so that its repetition is answered the same."""
        return f"receipt:{queue}:{worker_id}"

    @staticmethod
    def parked(queue: str, run: str) -> str:
        """list: tasks of a run set aside, because the run was stopped or infrastructure kept failing them."""
        return f"parked:{queue}:{run}"

    @classmethod
    def queue(cls, queue: str) -> list[str]:
        """The five keys with which every script on a queue begins: list, claims, leases, attempts, faults."""
        return [queue, cls.claimed(queue), cls.lease(queue), cls.attempts(queue), cls.faults(queue)]

    # -- operations ------------------------------------------------------------------------------------
    OPERATIONS = "operations"
    """set: every operation of which the store knows something."""

    @staticmethod
    def known(operation: str) -> str:
        """set: hashes queued or judged; a candidate in it is a duplicate."""
        return f"known:{operation}"

    @staticmethod
    def best(operation: str) -> str:
        """zset: hash of a correct kernel -> speedup (0 where it was not timed)."""
        return f"best:{operation}"

    @staticmethod
    def failures(operation: str) -> str:
        """list, capped: hashes of rejected kernels, most recent first."""
        return f"failures:{operation}"

    @staticmethod
    def feedback_version(operation: str) -> str:
        """counter: how many verdicts of the operation exist."""
        return f"feedback_version:{operation}"

    @staticmethod
    def operation_source(operation: str) -> str:
        """string: text of the file that a user's own operation came from."""
        return f"operation_source:{operation}"

    # -- runs ------------------------------------------------------------------------------------------
    RUNS = "runs"
    """zset: run -> start, seconds since the epoch."""

    @staticmethod
    def run(run: str) -> str:
        """hash: config (JSON), state, started, stopped."""
        return f"run:{run}"

    @staticmethod
    def run_ops(run: str) -> str:
        """list: operations of the run, in the order in which they were asked for."""
        return f"run_ops:{run}"

    @staticmethod
    def run_stats(run: str, operation: str) -> str:
        """hash: counters of one operation of one run."""
        return f"run_stats:{run}:{operation}"

    @staticmethod
    def run_events(run: str) -> str:
        """stream, approximately capped: one compact entry per event."""
        return f"run_events:{run}"

    @staticmethod
    def groups(run: str) -> str:
        """set: ids of the groups ever queued."""
        return f"groups:{run}"

    @staticmethod
    def submitted(run: str) -> str:
        """set: ids of the candidates that came back from generation, usable or not."""
        return f"submitted:{run}"

    @staticmethod
    def done(run: str) -> str:
        """set: ids of the tasks (candidates and groups) that are finished."""
        return f"done:{run}"

    # -- workers ---------------------------------------------------------------------------------------
    WORKERS = "workers"
    """zset: worker id -> when its entry expires, milliseconds by Redis TIME."""
