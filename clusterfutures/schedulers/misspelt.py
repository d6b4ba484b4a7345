"""What to write in the place of a name that is no option: for errors only, so it is imported late.

Names that other libraries have for the same thing come first (dask-jobqueue, joblib, Celery, submitit,
``multiprocessing``, Parsl, executorlib, Ray): no comparison of spelling finds ``max_workers`` for ``n_jobs``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["advice"]

#: their name -> ours; of several the first that is known where the name was given
_THEIRS = {
    "max_workers": "n_workers nworkers num_workers number_of_workers workers n_jobs njobs num_jobs jobs max_jobs "
    "max_procs nproc nprocs n_procs num_procs num_processes n_processes concurrency worker_concurrency "
    "slurm_array_parallelism "
    "array_parallelism max_blocks maximum_jobs max_num_jobs max_parallelism parallelism pool_size poolsize n_threads "
    "nthreads num_threads max_threads",
    "processes": "processes_per_job procs_per_job tasks_per_node ntasks_per_node ntasks_per_job workers_per_node "
    "workers_per_job max_workers_per_node n_workers_per_job",
    "max_tasks_per_child": "maxtasksperchild worker_max_tasks_per_child max_calls max_tasks tasks_per_child",
    "bins_per_job": "tasks_per_job calls_per_job bins_per_worker",
    "initializer": "init worker_initializer init_function setup_function on_start initialiser",
    "initargs": "init_args initializer_args initializer_arguments",
    "mp_context": "context multiprocessing_context start_method",
    "idle_timeout": "death_timeout worker_idle_timeout idle keep_alive keepalive worker_timeout linger max_idletime",
    "timeout_notice": "soft_time_limit signal_delay_s warning_time notice signal_delay",
    "directory": "local_directory temp_folder folder cache_directory run_dir rundir log_directory log_folder "
    "work_directory scratch scratch_dir logdir spool",
    "name": "job_name jobname slurm_job_name thread_name_prefix name_prefix worker_name",
    "python": "python_executable executable interpreter slurm_python python_path python_bin",
    "setup": "job_script_prologue env_extra worker_init slurm_setup setup_commands prologue preamble pre_commands "
    "init_commands cmds",
    "teardown": "job_script_epilogue slurm_teardown epilogue post_commands after_commands",
    "env": "environment environ env_vars envs environment_variables envvars",
    "modules": "module module_load load_modules modules_to_load",
    "launcher": "srun_args container image singularity apptainer wrapper prefix command_prefix",
    "scheduler": "backend cluster system executor provider batch_system cluster_type",
    "retries": "max_retries max_num_timeout retry retries_count autoretry_for allowed_failures retry_times n_retries "
    "num_retries max_restarts",
    "run": "run_name checkpoint checkpoint_file resume cache_key resume_from",
    "keep": "keep_logs keep_files",
    "cores": "n_cores ncores num_cores num_cpus n_cpus cpu core job_cpu threads_per_worker threads_per_core "
    "cores_per_worker cores_per_node cores_per_job nthreads_per_worker cpus_per_job cpus_per_node max_cores",
    "memory": "mem_gb mem_mb memory_limit job_mem ram mem_per_node mem_per_worker memory_gb memory_mb vmem max_memory "
    "memory_per_job mem_per_job",
    "time": "timeout_min timeout_minutes time_min max_time runtime max_runtime wall_time duration timelimit_min "
    "run_time",
    "partition": "partitions queues queue_name partition_name",
    "account": "project accounting_group slurm_account allocation charge_account",
    "gpus": "num_gpus n_gpus gpus_per_node gpus_per_job gpus_per_task gres gpu_count gpus_per_worker",
    "nodes": "num_nodes n_nodes nnodes nodes_per_block node_count nodecount",
    "features": "node_features feature_list",
    "begin": "eta start_time start_at begin_at start countdown",
    "extra": "job_extra job_extra_directives slurm_additional_parameters additional_parameters directives "
    "extra_directives sbatch_args sbatch_options qsub_args native_specification extra_args resource_spec "
    "additional_options",
    "outfile": "output stdout_file output_file log",
    "errfile": "error stderr_file error_file",
    "cwd": "workdir work_dir working_dir working_directory",
}  # fmt: skip

#: what is had in another way
_OTHERWISE = {
    "chunksize": "give it to map(..., chunksize=)",
    "batch_size": "give map(..., chunksize=)",
    "batchsize": "give map(..., chunksize=)",
    "pre_dispatch": "give map(..., buffersize=)",
    "buffersize": "give it to map(..., buffersize=)",
    "prefetch": "give map(..., buffersize=)",
    "worker_prefetch_multiplier": "give map(..., chunksize=)",
    "bins": "give it to map(..., bins=)",
    "ordered": "give it to map(..., ordered=)",
    "timeout": "give it to result(timeout=) or map(..., timeout=); a job's limit is time='2:00:00'",
    "verbose": "leave it out; logging.getLogger('clusterfutures').setLevel('INFO') shows what is done",
    "cwd": "leave it out: calls run in the directory where the program is when it submits them",
    "outfile": "leave it out: future.output() is what a call printed",
    "errfile": "leave it out: future.output() is what a call printed",
    "interface": "leave it out: nodes and program share files, and use no network",
    "port": "leave it out: nodes and program share files, and use no network",
    "host": "leave it out: nodes and program share files, and use no network",
    "address": "leave it out: nodes and program share files, and use no network",
    "dashboard_address": "leave it out; the command 'clusterfutures' shows runs and jobs",
    "broker": "leave it out: directory= is where program and nodes meet",
    "broker_url": "leave it out: directory= is where program and nodes meet",
    "result_backend": "leave it out: directory= is where program and nodes meet",
    "conda_env": "give python='/path/of/env/bin/python'",
    "conda": "give python='/path/of/env/bin/python'",
    "virtualenv": "give python='/path/of/env/bin/python'",
    "venv": "give python='/path/of/env/bin/python'",
    "mem_per_cpu": "give memory='8GB', the memory of the whole job",
    "max_nbytes": "leave it out: large arrays are stored once, whatever their number of calls",
    "mmap_mode": "leave it out: large arrays are stored once, whatever their number of calls",
    "prefer": "leave it out",
    "require": "leave it out",
    "dependencies": "give futures as arguments to submit: it waits for their results",
    "depends": "give futures as arguments to submit: it waits for their results",
    "mail_user": "give extra=['--mail-user=...'], or the option of your scheduler",
    "email": "give extra=['--mail-user=...'], or the option of your scheduler",
}  # fmt: skip

_UNITS = {"memory": "memory='4GB'", "time": "time='2:00:00'"}
_OURS = {theirs: ours for ours, names in _THEIRS.items() for theirs in names.split()}
_PREFIXES = ("slurm_", "pbs_", "sge_", "lsf_", "job_", "worker_", "sbatch_", "qsub_")
_ELSEWHERE = "clusterfutures.option_help() lists the options; what else your scheduler knows goes into extra=['...']"


def advice(name: str, known: Collection[str]) -> str:
    """What to do in the place of giving ``name``, for the end of an error; known: names that may be given."""
    plain = name.lower().strip("-").replace("-", "_")
    short = next((plain.removeprefix(prefix) for prefix in _PREFIXES if plain.startswith(prefix)), plain)
    for wanted in dict.fromkeys((plain, short)):
        if wanted in known and wanted != name:
            return _instead(wanted, name)
        ours = _OURS.get(wanted)
        if ours is not None and ours in known:
            return _instead(ours, name)
        if ours is not None and ours in _OTHERWISE:
            return _OTHERWISE[ours]
        if wanted in _OTHERWISE:
            return _OTHERWISE[wanted]
    near = difflib.get_close_matches(plain, [one for one in known if len(one) > 1], n=1, cutoff=0.6)
    if near:
        return _instead(near[0], name)
    far = difflib.get_close_matches(plain, _OURS, n=1, cutoff=0.8)
    if far and _OURS[far[0]] in known:
        return _instead(_OURS[far[0]], name)
    return _ELSEWHERE


def _instead(ours: str, name: str) -> str:
    return f"write {_UNITS.get(ours, ours)}, not {name}"
