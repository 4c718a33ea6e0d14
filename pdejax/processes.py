"""The processes of one run, on one machine or many, before they compute together."""

import jax


def join_processes(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Makes the devices of all processes of a run one set, which `pdejax.Devices` then cuts work over.

    Under SLURM, Open MPI, Kubernetes and on TPU pods without arguments: JAX finds out by itself. On plain hosts all
    three: the address `host:port` of process 0, of which the port is free, how many processes there are, and which one
    this is. Call it first, once per process, and run the same script with the same data in all of them; what only one
    should do (printing, writing files) goes behind `if jax.process_index() == 0:`.

    On CPUs (JAX_PLATFORMS=cpu), for tests, programs start one after another from here on: side by side they would meet
    in another order in the other process, and wait for each other for ever.

    Raises `ValueError` where some of the arguments are missing or do not fit, and where there is nothing to join;
    `RuntimeError`, of JAX, where it has made arrays already.
    """
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    if missing := [name for name, value in given.items() if value is None]:
        if len(missing) < 3:
            raise ValueError(
                f"join_processes takes all of {', '.join(given)}, or nothing where SLURM, MPI or a TPU pod says it; "
                f"{', '.join(missing)} is missing."
            )
    else:
        assert coordinator is not None and num_processes is not None and process_id is not None
        _, colon, port = coordinator.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"The coordinator is host:port, the address of process 0, got {coordinator!r}.")
        if not 0 <= process_id < num_processes:
            raise ValueError(f"process_id counts from 0 to num_processes - 1 = {num_processes - 1}, got {process_id}.")
    if jax.config.jax_platforms == "cpu":  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except ValueError as error:
        raise ValueError(
            f"JAX finds no other processes ({error}): start this under SLURM (srun), MPI or on a TPU pod, or pass "
            "coordinator=, num_processes= and process_id= in each of them."
        ) from error
