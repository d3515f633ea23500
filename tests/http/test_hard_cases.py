"""Where is each of the hard cases proved on real processes and sockets?

The cases T-01 to T-48 and what was measured of llama-swap stand in
reference/hard-cases.md. Those that need no I/O have a test of their own in
tests/core/test_hard_cases.py as well, whatever stands here; a case that is
only proved there, or has nothing to be proved of, says so.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

FAULTS = "http/faults/"
CORE = "core/test_hard_cases.py"

CASES: dict[str, tuple[str, ...]] = {
    "T-01 a request while the time to live stops the model": (
        FAULTS
        + "test_ending.py::test_t01_a_request_that_meets_the_end_of_a_time_to_live_is_served_by_the_next_run",
    ),
    "T-02 evicted between ready and its first request": (CORE + "::test_t02_*",),
    "T-03 a request to a dying child": (
        FAULTS + "test_crashes.py::test_a_request_that_has_no_answer_yet_gets_a_502_at_once",
        FAULTS + "test_crashes.py::test_t03_one_that_goes_by_itself_while_idle_is_started_again",
    ),
    "T-04 two waiters, one freed slot": (CORE + "::test_t04_*",),
    "T-05 the victim revived": (CORE + "::test_t05_*",),
    "T-06 ping-pong": (CORE + "::test_t06_*",),
    "T-07 evicting a loading model": (
        FAULTS + "test_leaving.py::test_a_load_that_everyone_has_left_makes_room",
    ),
    "T-08 a victim busy for ever": (CORE + "::test_t08_*",),
    "T-09 a busy victim picked again and again": (CORE + "::test_t09_*",),
    "T-10 the limit changed while a model loads": (CORE + "::test_t10_*",),
    "T-11 over the capacity": ("http/test_coexistence.py::test_matrix", CORE + "::test_t11_*"),
    "T-12 can never fit": ("http/test_coexistence.py::test_a_pinned_model_stays", CORE + "::test_t12_*"),
    "T-13 two runs of one model": (FAULTS + "test_reloading.py::test_T44_*", CORE + "::test_t13_*"),
    "T-14 starvation": ("http/test_coexistence.py::test_bounds_of_waiting", CORE + "::test_t14_*"),
    # Counters and leaks
    "T-15 leaked leases": (
        FAULTS + "test_leaving.py::test_t15_t38_no_lease_is_left_over_wherever_a_client_leaves",
        "http/test_websockets.py::test_idle_it_gives_its_lease_back_and_takes_it_again",
        "http/test_websockets.py::test_a_client_who_hangs_up_gives_its_lease_back",
    ),
    "T-16 leases reaped early": (CORE + "::test_t16_*",),
    "T-17 a cancelled waiter": (
        FAULTS + "test_leaving.py::test_t17_*",
        "http/test_driver.py::test_a_caller_cancelled_between_the_grant_and_its_wake_up_gives_the_lease_back",
    ),
    "T-18 a pinned model freed": (
        "http/test_coexistence.py::test_a_pinned_model_stays",
        CORE + "::test_t18_*",
    ),
    "T-19 what the time to live counts from": (FAULTS + "test_ending.py::test_t19_*",),
    # Starting and stopping
    "T-20 sleep lies": ("there is no sleep",),
    "T-21 dies while loading": (FAULTS + "test_starting.py::test_t21_*",),
    "T-22 dies while stopping, twice, while probed": (FAULTS + "test_starting.py::test_t22_*",),
    "T-23 grandchildren": (
        FAULTS + "test_stopping.py::test_t23_*",
        "http/test_launcher_end.py::test_a_wrapper_that_forks_is_stopped_with_what_it_wraps",
    ),
    "T-24 one stop deadline": (FAULTS + "test_stopping.py::test_t24_*",),
    "T-25 the server dies": (FAULTS + "test_death_of_the_server.py::test_t25_*",),
    "T-26 a port's ghost": (
        FAULTS + "test_starting.py::test_t26_*",
        "http/test_launcher.py::test_a_port_that_is_taken_while_it_starts_costs_only_a_second_try",
    ),
    "T-27 killing by name": (
        FAULTS + "test_death_of_the_server.py::test_two_servers_of_one_user_leave_each_other_alone",
    ),
    "T-28 retry storm": (FAULTS + "test_starting.py::test_t28_*", FAULTS + "test_crashes.py::test_t28_*"),
    "T-29 a failure poisons others": (FAULTS + "test_starting.py::test_t29_*",),
    "T-30 containers": (
        FAULTS + "test_stopping.py::test_t30_*",
        FAULTS + "test_death_of_the_server.py::test_t30_*",
    ),
    "T-31 a full pipe": (FAULTS + "test_starting.py::test_t31_*", FAULTS + "test_floods.py::test_t31_*"),
    "T-32 a child without a model": (FAULTS + "test_starting.py::test_t32_*",),
    "T-33 ready too early or too late": (FAULTS + "test_starting.py::test_t33_*",),
    "T-34 the environment replaced": ("http/test_launcher.py::test_the_environment_is_merged",),
    # Proxy
    "T-35 a stream cut midway": (
        FAULTS + "test_crashes.py::test_t35_*",
        "http/test_forward_broken.py::test_upstream_that_dies_midway_is_no_clean_end",
    ),
    "T-36 an upgrade lost": ("http/test_websockets.py::test_messages_of_all_sizes_get_through",),
    "T-37 the path's fidelity": (
        "http/routes/test_passthrough.py::test_path_query_and_method_arrive_as_they_were_sent",
    ),
    "T-38 a client aborts": (
        FAULTS + "test_leaving.py::test_t15_t38_*",
        "http/routes/test_serving.py::test_what_becomes_of_an_answer_whose_client_has_gone",
    ),
    "T-39 assets and polls": ("http/routes/test_passthrough.py::test_assets_start_no_model",),
    "T-40 large bodies and slow readers": (FAULTS + "test_floods.py::test_t40_*",),
    "T-41 floods of logs and events": (
        "http/test_loglines.py::test_what_is_repeated_is_left_out_and_counted",
        "http/routes/test_logs.py::test_a_slow_reader_is_told_what_it_misses",
    ),
    "T-42 the shape of errors": ("http/test_responses.py::test_the_envelope",),
    # Configuration and reload
    "T-43 reloads overlap": (FAULTS + "test_reloading.py::test_T43_*",),
    "T-44 two catalogs' models at once": (FAULTS + "test_reloading.py::test_T44_*",),
    "T-45 a broken new configuration": (FAULTS + "test_reloading.py::test_T45_*",),
    "T-46 links, mounts, renames": (FAULTS + "test_reloading.py::test_T46_*",),
    "T-47 the solver's work": (
        "core/planning/test_solver.py::test_the_work_is_bounded_and_the_plan_is_safe",
    ),
    "T-48 groups' one-way rule": ("http/test_coexistence.py::test_groups", CORE + "::test_t48_*"),
}

MEASURED: dict[str, tuple[str, ...]] = {
    "B waits 20.8 s for A's traffic to end": (
        "http/test_coexistence.py::test_bounds_of_waiting",
        "core/test_bound.py::test_*",
    ),
    "a backend that is ready after 0.3 s is seen after 1.3 s": (
        "http/test_readiness.py::test_it_is_asked_the_more_rarely_the_longer_it_takes",
    ),
    "a load that its caller has left takes the room for 8.6 s": (
        FAULTS + "test_leaving.py::test_a_load_that_everyone_has_left_makes_room",
    ),
    "a model that nobody used is dropped after 1 s": (
        FAULTS + "test_ending.py::test_t19_a_model_that_nobody_asked_for_lives_as_long_from_ready",
    ),
    "of 15 requests behind a load 5 get a 429": (
        FAULTS + "test_leaving.py::test_a_burst_at_a_model_that_loads_is_served_to_the_last",
    ),
    "swapping a deaf child away takes 21.3 s": (
        FAULTS + "test_stopping.py::test_t24_one_limit_on_every_path",
    ),
    "unloading it holds others up for 2.7 s": (
        FAULTS + "test_ending.py::test_unloading_a_deaf_model_keeps_nobody_else_waiting",
    ),
    "an unload during a request is a 502 without a body": (
        "http/routes/test_operation.py::test_draining_lets_callers_finish_and_refuses_who_waits",
        "http/routes/test_operation.py::test_now_cuts_callers",
    ),
    "a reload with a request in flight is a 502 without a body": (
        "http/test_reload.py::test_what_does_not_change_keeps_its_process_its_port_and_its_streams",
        "http/test_reload.py::test_only_what_is_newly_listed_is_preloaded",
    ),
    "five requests are five starts that fail": (
        FAULTS + "test_starting.py::test_t28_a_broken_model_is_not_started_by_every_request",
    ),
    "after SIGKILL a port is held by an orphan for ever": (
        FAULTS + "test_death_of_the_server.py::test_t25_*",
    ),
    "after SIGKILL an orphan answers for the new child": (
        FAULTS + "test_death_of_the_server.py::test_what_server_and_watchdog_leave_the_next_server_sweeps_up",
        "http/test_launcher.py::test_who_belongs_to_another_run_does_not_count_as_the_upstream",
    ),
    "after a reload a new child is ready through the old one": (FAULTS + "test_reloading.py::test_T44_*",),
}


def names_in(path: Path) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("test_")]


@pytest.mark.parametrize("case", [*CASES, *MEASURED])
def test_every_case_is_proved_where_it_is_said_to_be(case: str) -> None:
    for where in (CASES | MEASURED)[case]:
        if "::" not in where:
            continue
        file, _, name = where.partition("::")
        there = names_in(TESTS / file)
        start = name.removesuffix("*")
        assert any(each.startswith(start) if name.endswith("*") else each == name for each in there), where


def test_no_case_is_left_out() -> None:
    assert [case.split()[0] for case in CASES] == [f"T-{number:02}" for number in range(1, 49)]
    assert len(MEASURED) == 13


def test_what_stands_here_by_number_is_what_the_tests_are_called_by() -> None:
    """A test with the number of a case in its name is found in the table."""
    listed = {where.partition("::")[0] for places in CASES.values() for where in places if "::" in where}
    for path in sorted((TESTS / "http" / "faults").glob("test_*.py")):
        numbered = [name for name in names_in(path) if name[5:6] in {"t", "T"} and name[6:8].isdecimal()]
        if numbered:
            assert FAULTS + path.name in listed
        for name in numbered:
            (places,) = [places for case, places in CASES.items() if case.startswith(f"T-{name[6:8]} ")]
            starts = [where.partition("::")[2].removesuffix("*") for where in places if path.name in where]
            assert any(name.startswith(start) for start in starts), name
