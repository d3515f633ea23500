"""Where is each row and each point of llama-swap's HTTP surface proved?

They are those of reference/llama-swap-behaviour.md: the rows of C.2, and the
points of C.1 and C.3 to C.16. What is different on purpose says so after a
colon that starts with "differs"; README's table has the reasons.
"""

from pathlib import Path

import pytest

from tests.http.test_hard_cases import names_in

TESTS = Path(__file__).parents[1]

R = "http/routes/"
H = "http/"

ROWS: dict[str, tuple[str, ...]] = {
    "POST the JSON routes": (R + "test_inference.py::test_every_path_reaches_the_model_in_its_body",),
    "POST /v/...": (R + "test_inference.py::test_paths_with_a_first_segment_too_many_lose_it",),
    "POST the multipart routes": (
        R + "test_inference.py::test_transcription_arrives_byte_for_byte",
        R + "test_inference.py::test_every_path_reaches_the_model_in_its_body",
    ),
    "GET /v1/audio/voices /sdapi/v1/loras /props": (
        R + "test_inference.py::test_paths_whose_query_names_the_model",
    ),
    "GET /v1/models /models": (R + "test_listing.py::test_models_are_listed_in_order_of_their_ids",),
    "GET /running": (R + "test_operation.py::test_running_shows_what_is_resident",),
    "GET /unload": (R + "test_operation.py::test_unloading_everything",),
    "GET /logs, /logs/stream, /logs/stream/{id}": (
        R + "test_logs.py::test_history_of_the_combined_log",
        R + "test_logs.py::test_streams_start_with_the_past_and_go_on",
        R + "test_logs.py::test_streams_of_upstreams",
    ),
    "GET /metrics": (R + "test_metrics.py::test_what_is_counted",),
    "GET /health /wol-health": (R + "test_listing.py::test_health_needs_no_model",),
    "GET /": (
        R + "test_pages.py::test_people_are_sent_to_the_page",
        "differs: programs are told in text what there is",
        R + "test_listing.py::test_the_root_says_what_this_is",
    ),
    "GET /ui/...": (R + "test_pages.py::test_the_page_and_its_files", "differs: one page"),
    "GET /favicon.ico": (R + "test_pages.py::test_the_page_and_its_files",),
    "GET /upstream": (R + "test_pages.py::test_people_are_sent_to_the_page",),
    "any /upstream/{path}": (R + "test_passthrough.py::test_path_query_and_method_arrive_as_they_were_sent",),
    "any /comfyui, /comfyui/{path}": (
        R + "test_comfyui.py::test_without_its_slash_it_is_sent_to_the_one_with",
        R + "test_comfyui.py::test_the_rest_passes_as_it_was_sent_once_it_is_up",
    ),
    "POST /api/models/unload, /api/models/unload/{model}": (
        R + "test_operation.py::test_unloading_everything",
        R + "test_operation.py::test_unloading_one",
    ),
    "GET /api/profiles": (R + "test_profiles.py::test_they_are_listed",),
    "PUT /api/profiles/active": (
        R + "test_profiles.py::test_pins_hold_while_their_profile_is_active",
        R + "test_profiles.py::test_what_cannot_be_chosen",
    ),
    "POST /api/inflight/{id}/cancel": (R + "test_flights.py::test_cancel_*",),
    "GET /api/events": (R + "test_events.py::test_the_opening",),
    "GET /api/metrics/activity, /api/metrics/stats": (R + "test_activity.py::test_pages_and_filters",),
    "GET /api/performance /api/version /api/hardware /api/captures/{id}": (
        R + "test_metrics.py::test_performance",
        R + "test_about.py::test_version",
        R + "test_metrics.py::test_hardware",
        R + "test_activity.py::test_what_is_captured_where",
    ),
    "OPTIONS anything": (H + "test_cors.py::test_every_preflight_is_answered_here",),
    "not routed: /v1/tasks/run, /tokenize, /slots, /v1/models/{id}, /v/audio/..., /v/models": (
        "differs: a POST that names a model reaches it, unless routeUnknownPaths is false",
        R + "test_unknown.py::test_a_post_that_names_a_model_reaches_it",
        R + "test_unknown.py::test_it_can_be_switched_off",
        R + "test_unknown.py::test_other_methods_and_known_paths_stay_as_they_are",
    ),
    "which of them take a key": (R + "test_needs.py::test_*",),
}

POINTS: dict[str, tuple[str, ...]] = {
    # Routing conventions
    "C.1 404 and 405 as plain text, HEAD with GET, slashes count": (
        H + "test_app.py::test_paths_and_methods_that_do_not_exist",
        R + "test_listing.py::test_head_is_served_where_get_is",
    ),
    "C.1 untidy paths": (
        R + "test_unknown.py::test_untidy_paths_are_sent_to_the_tidy_ones",
        "differs: those below /upstream pass as they are",
        R + "test_passthrough.py::test_path_query_and_method_arrive_as_they_were_sent",
    ),
    "C.1 /ui and non-GET /upstream get their slash": (
        R + "test_pages.py::test_people_are_sent_to_the_page",
        R + "test_passthrough.py::test_without_a_model_it_is_sent_on",
    ),
    "C.1 access log, then preflights, for all": (
        H + "test_accesslog.py::test_requests_are_logged_if_that_is_wanted",
        "differs: only with logRequests",
        H + "test_cors.py::test_every_preflight_is_answered_here",
    ),
    # Order
    "C.3 key, profile, selector, model, filters, recording": (
        R + "test_profiles.py::test_pins_hold_*",
        R + "test_targets.py::test_filters_are_those_of_the_target_and_its_name",
        R + "test_targets.py::test_the_model_is_told_its_own_name_after_all_that",
        R + "test_activity.py::test_what_else_was_decided_is_remembered",
    ),
    "C.3 /upstream: key and profile, no selector, no filter": (
        R + "test_targets.py::test_selectors_are_no_upstreams",
        R + "test_profiles.py::test_pins_hold_in_queries_and_paths",
    ),
    "C.3 /comfyui and /api: the key alone": (R + "test_profiles.py::test_management_knows_no_profiles",),
    # Finding the model
    "C.4 /upstream: in the path": (R + "test_passthrough.py::test_longest_name_counts",),
    "C.4 GET: in the query": (H + "test_extract.py::test_get_names_its_model_in_the_query",),
    "C.4 JSON, malformed and coerced too": (
        H + "test_extract.py::test_json_names_a_model",
        H + "test_extract.py::test_malformed_json_may_name_a_model",
        H + "test_extract.py::test_json_ignores_the_query",
        H + "waiting/test_marked.py::test_json",
    ),
    "C.4 multipart": (H + "test_extract.py::test_multipart_names_a_model", H + "test_bigbody.py::test_*"),
    "C.4 forms and queries": (
        H + "test_extract.py::test_forms_and_queries_name_a_model",
        R + "test_inference.py::test_model_in_the_query_of_a_post_without_a_type",
    ),
    "C.4 the body arrives byte for byte": (
        R + "test_inference.py::test_body_arrives_as_it_was_sent",
        "differs: large ones are kept in files, and /upstream's pass as they come",
        H + "test_bodies.py::test_what_is_long_goes_to_a_file",
    ),
    "C.4 no model: 404": (
        H + "test_app.py::test_requests_that_name_no_model",
        "differs: JSON that cannot be read is a 400",
    ),
    "C.4 aliases, and names of peers": (
        R + "test_inference.py::test_aliases_reach_their_model",
        H + "test_peers.py::test_whole_and_bare_names_reach_it_under_its_own",
    ),
    "C.4 local, else peer, else 404": (H + "test_peers.py::test_models_of_this_machine_go_first",),
    "C.4 another name is written where the old one stood": (
        H + "test_extract.py::test_json_is_renamed_and_nothing_else",
        H + "test_extract.py::test_multipart_is_renamed_and_nothing_else",
        "differs: all keys of that name change, and forms keep their order, fields and boundary",
        H + "test_extract.py::test_forms_and_queries_are_renamed_and_nothing_else",
    ),
    "C.4 profiles": (
        R + "test_profiles.py::test_pins_hold_while_their_profile_is_active",
        R + "test_profiles.py::test_a_name_can_be_switched_off",
        R + "test_profiles.py::test_pins_hold_in_queries_and_paths",
    ),
    "C.4 pin": (
        R + "test_targets.py::test_pin_names_the_first_target",
        H + "test_selectors.py::test_pin_is_always_the_first",
    ),
    "C.4 warm": (
        R + "test_targets.py::test_warm_stays_with_what_is_up",
        "differs: sees queued swaps",
        R + "test_targets.py::test_warm_sees_a_swap_that_is_queued",
    ),
    "C.4 spillover": (
        H + "test_selectors.py::test_spillover_*",
        R + "test_targets.py::test_spillover_*",
        "differs: counts all requests of a target",
        H + "test_websockets.py::test_selectors_do_not_count_ignored_ones",
    ),
    "C.4 filters and metadata of what a selector chose": (
        R + "test_targets.py::test_filters_are_those_of_the_target_and_its_name",
        R + "test_activity.py::test_what_else_was_decided_is_remembered",
    ),
    # Filters
    "C.5 only JSON": (H + "test_filters.py::test_only_json_is_filtered",),
    "C.5 the four steps": (
        H + "test_filters.py::test_parameters",
        H + "test_filters.py::test_the_name_is_changed_with_the_rest",
        H + "test_peers.py::test_filters_of_a_peer",
    ),
    "C.5 paths of keys, and all other bytes": (
        H + "test_jsonedit.py::test_*",
        "differs: a wildcard is an error of the configuration, and a key that comes twice changes twice",
    ),
    "C.5 what cannot be read": (
        R + "test_targets.py::test_a_body_that_cannot_be_filtered_is_refused",
        "differs: a 400 in both cases",
    ),
    "C.5 multipart: the name alone": (
        R + "test_targets.py::test_a_form_is_told_the_chosen_target_and_keeps_everything_else",
    ),
    "C.5 no filter for GET": (R + "test_inference.py::test_paths_whose_query_names_the_model",),
    "C.5 captures show the filtered body": (R + "test_activity.py::test_captures_show_what_was_sent_on",),
    # Errors, fields, forwarding
    "C.6 the envelope, type and code by status": (H + "test_responses.py::test_the_envelope",),
    "C.6 by Accept": (
        H + "test_responses.py::test_text_for_those_who_want_text",
        H + "test_responses.py::test_a_page_for_browsers",
        "differs: /v1/messages has its API's own",
        H + "test_responses.py::test_errors_of_anthropics_api",
    ),
    "C.6 429": (
        H + "test_responses.py::test_who_asks_too_much_is_always_told_in_json",
        "differs: Retry-After is an estimate",
        H + "test_responses.py::test_it_is_said_when_to_ask_again",
    ),
    "C.6 failed starts, unloads, shutdown": (
        H + "test_responses.py::test_every_refusal_has_its_status_and_says_why",
        "differs: 502 and 503 with the cause, instead of 500",
        H + "test_app.py::test_upstream_that_exits_at_once_shows_its_last_words",
    ),
    "C.6 an upstream that is not there or dies before its head": (
        H + "test_forward_broken.py::test_upstream_that_cannot_be_reached",
        H + "test_forward_broken.py::test_upstream_that_dies_before_its_answer",
        "differs: the 502 says why",
    ),
    "C.6 answers pass, redirects too": (
        H + "test_forward.py::test_answer_passes_byte_for_byte",
        R + "test_passthrough.py::test_redirects_of_the_upstream_are_the_clients_business",
    ),
    "C.6 to models: base path, query, Host, hops, credentials": (
        H + "test_forward.py::test_request_passes_byte_for_byte",
        H + "test_headers.py::test_client_is_appended_to_the_hops",
        "differs: a key of this server is kept back",
        H + "test_gate.py::test_a_key_of_ours_is_not_shown_to_the_upstream",
    ),
    "C.6 packed answers": (
        H + "test_forward.py::test_packed_body_stays_packed",
        "differs: nothing is packed or unpacked that the client has not asked for",
    ),
    "C.6 proxies, pools, HTTP/2": (
        "differs: HTTP_PROXY is not looked at, connections are kept as long as timeouts say, HTTP/1.1 only",
        H + "test_upstreams.py::test_an_idle_connection_is_kept_for_as_long_as_is_said",
        H + "test_forward_manner.py::test_an_upstream_behind_tls",
    ),
    "C.6 to peers": (
        H + "test_peers.py::test_a_peer_sees_its_own_name_and_no_hops",
        H + "test_peers.py::test_a_peer_with_a_key_is_shown_that_one",
    ),
    "C.6 streams are passed on at once": (
        H + "test_forward.py::test_each_event_is_delivered_before_the_next_is_sent",
        H + "test_headers.py::test_event_streams_are_not_to_be_collected_on_the_way",
    ),
    "C.6 who hangs up ends it; an upstream that dies in the middle": (
        H + "test_forward_broken.py::test_client_gone_midway_frees_the_upstream_at_once",
        H + "test_forward_broken.py::test_upstream_that_dies_midway_is_no_clean_end",
        "differs: the client's connection is broken off, of models as of peers",
    ),
    "C.6 what fails otherwise": (H + "test_app.py::test_unexpected_exceptions_are_logged_and_not_shown",),
    "C.6 CORS": (
        H + "test_cors.py::test_every_preflight_is_answered_here",
        H + "test_cors.py::test_only_lists_of_models_are_open_to_pages",
        "differs: corsOrigins opens all to some pages",
        H + "test_cors.py::test_caches_are_told_that_answers_depend_on_the_page",
    ),
    "C.6 keys": (
        H + "test_auth.py::test_who_asks",
        H + "test_gate.py::test_every_way_to_show_a_key",
        "differs: an x-api-key beside another credential counts",
        H + "test_auth.py::test_each_key_is_compared_in_constant_time",
    ),
    "C.6 the access log": (H + "test_accesslog.py::test_*",),
    # /upstream
    "C.7 the longest name": (R + "test_passthrough.py::test_longest_name_counts",),
    "C.7 the model alone gets its slash": (
        R + "test_passthrough.py::test_name_without_a_slash_is_sent_to_the_one_with",
    ),
    "C.7 the rest stays as it is encoded": (
        R + "test_passthrough.py::test_path_query_and_method_arrive_as_they_were_sent",
    ),
    "C.7 ignorePaths": (
        R + "test_passthrough.py::test_assets_start_no_model",
        R + "test_passthrough.py::test_assets_pass_once_the_model_is_up",
        R + "test_passthrough.py::test_a_model_that_starts_serves_no_assets_yet",
    ),
    "C.7 else scheduled like any request": (
        R + "test_passthrough.py::test_it_takes_a_lease_and_swaps_like_any_request",
    ),
    "C.7 nobody sees it load there": (H + "waiting/test_wait.py::test_who_is_shown_how_it_loads",),
    "C.7 unknown: 404": (R + "test_passthrough.py::test_unknown_model",),
    # Lists of models
    "C.8 order and fields": (
        R + "test_listing.py::test_models_are_listed_in_order_of_their_ids",
        H + "test_model_rows.py::test_a_plain_model",
        "differs: owned_by is swapcore",
    ),
    "C.8 capabilities": (
        H + "test_model_rows.py::test_everything_that_can_be_said_of_a_model",
        H + "test_model_rows.py::test_what_modalities_come_to",
    ),
    "C.8 metadata beside capabilities": (
        H + "test_model_rows.py::test_metadata_says_what_capabilities_do_not",
    ),
    "C.8 rows of aliases, peers, selectors, pins": (
        H + "test_model_rows.py::test_aliases_as_models_of_their_own",
        H + "test_peers.py::test_they_are_listed_by_their_whole_names",
        H + "test_model_rows.py::test_selectors",
        H + "test_model_rows.py::test_pins_that_are_new_names",
    ),
    "C.8 status": (R + "test_listing.py::test_status_says_loaded_from_start_to_end",),
    # Running, unloading
    "C.9 /running": (
        R + "test_operation.py::test_running_shows_what_is_resident",
        "differs: cmd takes admin",
        H + "test_gate.py::test_commands_are_for_those_who_operate",
    ),
    "C.9 unloading": (
        R + "test_operation.py::test_unloading_*",
        "differs: lets requests finish first, unless now=1",
        R + "test_operation.py::test_now_cuts_callers",
        H + "test_app.py::test_paths_and_methods_that_do_not_exist",
    ),
    # Logs
    "C.10 /logs": (
        R + "test_logs.py::test_history_of_the_combined_log",
        R + "test_pages.py::test_people_are_sent_to_the_page",
    ),
    "C.10 /logs/stream": (
        R + "test_logs.py::test_streams_start_with_the_past_and_go_on",
        R + "test_logs.py::test_without_the_past",
        R + "test_logs.py::test_unknown_stream",
        R + "test_logs.py::test_streams_end_with_the_server",
        "differs: goes on at a reload, and says what a slow reader misses",
        R + "test_logs.py::test_a_slow_reader_is_told_what_it_misses",
    ),
    "C.10 whose log": (R + "test_logs.py::test_streams_of_upstreams",),
    "C.10 logToStdout": (H + "test_logstreams.py::test_who_writes_where",),
    # /api
    "C.11 version": (R + "test_about.py::test_version",),
    "C.11 profiles": (R + "test_profiles.py::test_they_are_listed",),
    "C.11 the active profile": (R + "test_profiles.py::test_what_cannot_be_chosen",),
    "C.11 cancelling": (R + "test_flights.py::test_cancel_*",),
    "C.11 performance": (
        R + "test_metrics.py::test_performance",
        R + "test_metrics.py::test_without_looking_at_the_machine",
        H + "metrics/test_machine.py::test_the_last_hour_is_kept",
        "differs: GPUs by NVIDIA's library alone, and an empty list is one",
    ),
    "C.11 hardware": (R + "test_metrics.py::test_hardware", H + "metrics/test_machine.py::test_a_*"),
    "C.11 captures": (
        R + "test_activity.py::test_captures_have_numbers",
        R + "test_activity.py::test_a_capture_that_is_not_there",
        R + "test_activity.py::test_no_secret_is_captured",
    ),
    "C.11 activity": (
        H + "activity/test_store.py::test_quer*",
        R + "test_activity.py::test_pages_and_filters",
        R + "test_activity.py::test_a_row",
    ),
    "C.11 stats": (H + "activity/test_store.py::test_statistics_*",),
    "C.11 events: frames and their order": (R + "test_events.py::test_the_opening",),
    "C.11 modelStatus": (R + "test_events.py::test_states_requests_and_activity_of_one_request",),
    "C.11 logData": (R + "test_events.py::test_the_log_comes_once_and_whole",),
    "C.11 activity as it happens": (R + "test_events.py::test_states_requests_and_activity_of_one_request",),
    "C.11 inflight": (
        R + "test_events.py::test_states_requests_and_activity_of_one_request",
        R + "test_events.py::test_many_changes_are_told_as_a_whole",
    ),
    "C.11 uiConfig": (R + "test_events.py::test_the_opening",),
    "C.11 profileChanged": (R + "test_events.py::test_profiles_and_configurations",),
    "C.11 bounded for each client, ends with the server": (
        R + "test_events.py::test_clients_that_never_read",
        R + "test_events.py::test_the_end_of_the_server_ends_the_stream",
        "differs: goes on at a reload, and who has missed some is told all",
    ),
    "C.11 what is in flight": (
        R + "test_flights.py::test_what_is_on_its_way",
        R + "test_flights.py::test_how_far_*",
        R + "test_events.py::test_how_far_answers_have_come",
        R + "test_events.py::test_secrets_of_requests_are_not_told",
    ),
    # Websockets
    "C.12 what one is": (H + "test_websockets.py::test_other_protocols_do_not_pass",),
    "C.12 scheduled like a request": (
        H + "test_websockets.py::test_it_holds_a_lease_while_bytes_move",
        "differs: only while bytes move (websocketIdle)",
        H + "test_websockets.py::test_idle_it_gives_its_lease_back_and_takes_it_again",
    ),
    "C.12 ignoreWebsockets": (
        H + "test_websockets.py::test_ignored_ones_start_nothing",
        H + "test_websockets.py::test_ignored_ones_pass_once_it_is_up_and_keep_it_from_nothing",
        "differs: the client is told with 1012",
    ),
    "C.12 their bytes are not recorded": (R + "test_flights.py::test_how_far_a_websocket_is",),
    # ComfyUI and others
    "C.13 /comfyui": (R + "test_comfyui.py::test_*",),
    "C.13 sdapi": (R + "test_inference.py::test_paths_whose_query_names_the_model",),
    "C.13 audioapi": (R + "test_inference.py::test_paths_with_a_first_segment_too_many_lose_it",),
    # Prometheus
    "C.14 when the machine is not looked at": (
        "differs: the counts are shown all the same",
        R + "test_metrics.py::test_without_looking_at_the_machine",
    ),
    "C.14 llama-swap's names": (H + "metrics/test_machine.py::test_the_names_are_llama_swaps",),
    # The page
    "C.15 files, other paths, what is missing": (
        R + "test_pages.py::test_the_page_and_its_files",
        "differs: nothing is packed: it is 13 KB",
    ),
    # Activity
    "C.16 what is recorded, by which path": (R + "test_activity.py::test_which_requests_are_recorded",),
    "C.16 Accept-Encoding": (
        R + "test_activity.py::test_only_what_can_be_unpacked_is_offered_to_upstreams",
        "differs: br and zstd too, where they can be read",
        H + "activity/test_unpacking.py::test_acceptable",
    ),
    "C.16 the answer is listened to": (
        R + "test_activity.py::test_a_long_stream_is_not_held",
        "differs: its two ends are kept, not all of it",
        H + "activity/test_tokens.py::test_the_end_alone_tells_what_the_whole_does",
    ),
    "C.16 answers that are no 200": (R + "test_activity.py::test_an_answer_that_is_an_error",),
    "C.16 empty answers, and who has gone": (
        R + "test_activity.py::test_an_empty_answer",
        "differs: a caller who left while it waited is a 499",
        R + "test_activity.py::test_a_caller_who_leaves_while_waiting",
    ),
    "C.16 packed answers": (
        R + "test_activity.py::test_a_packed_answer",
        R + "test_activity.py::test_an_answer_that_is_not_packed_as_it_says",
    ),
    "C.16 streams of events": (H + "activity/test_tokens.py::test_streams",),
    "C.16 JSON": (H + "activity/test_tokens.py::test_json",),
    "C.16 names of tokens": (H + "activity/test_tokens.py::test_json",),
    "C.16 llama.cpp's timings": (
        H + "activity/test_tokens.py::test_json",
        H + "activity/test_tokens.py::test_how_long_llama_cpp_took",
    ),
    "C.16 vLLM's metrics": (H + "activity/test_tokens.py::test_json",),
    "C.16 what is not known": (H + "activity/test_tokens.py::test_what_is_broken_says_nothing",),
    "C.16 metadata of rows": (R + "test_activity.py::test_what_else_was_decided_is_remembered",),
    "C.16 writing apart from the request, and only the latest": (
        H + "activity/test_store.py::test_only_the_latest_are_kept_and_numbers_are_never_used_again",
        H + "activity/test_recorder.py::test_what_is_written_needs_nobody_to_ask",
    ),
    "C.16 a store that fails": (
        "differs: rows wait in memory, bounded",
        H + "activity/test_store.py::test_a_disk_that_is_full_loses_nothing_that_memory_can_hold",
    ),
    "C.16 captures by route, bounded": (
        R + "test_activity.py::test_what_is_captured_where",
        R + "test_activity.py::test_captures_are_bounded_and_the_oldest_go_first",
        R + "test_activity.py::test_captures_can_be_off",
    ),
    "C.16 peers are recorded too": (R + "test_activity.py::test_what_peers_answer_is_recorded",),
    "C.16 SQLite": (
        H + "activity/test_store.py::test_a_file_outlives_the_store",
        "differs: a table of its own, with a limit (store.maxRows)",
        H + "activity/test_store.py::test_a_table_of_llama_swaps_stays_as_it_is",
    ),
}


@pytest.mark.parametrize("what", [*ROWS, *POINTS])
def test_each_is_proved_where_it_is_said_to_be(what: str) -> None:
    places = [where for where in (ROWS | POINTS)[what] if not where.startswith("differs: ")]
    assert places, "a difference is proved, too"
    for where in places:
        file, _, name = where.partition("::")
        start = name.removesuffix("*")
        there = names_in(TESTS / file)
        assert any(each.startswith(start) if name.endswith("*") else each == name for each in there), where
