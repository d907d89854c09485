//! Holds docs/rfc9112.md to the tests: each of its rows has one here that goes through a socket and
//! bears the row's section in its name, and what has no row is not tested as if it had.

use std::fs;
use std::path::PathBuf;

/// For each row, by what comes in, the tests that hold it.
const ROWS: &[(&str, &[&str])] = &[
    (
        "up to 8 empty lines in front",
        &["rfc9112_2_2_up_to_eight_empty_lines_before_a_request_are_skipped"],
    ),
    ("a ninth", &["rfc9112_2_2_up_to_eight_empty_lines_before_a_request_are_skipped"]),
    ("LF, a space or CR CR LF in front", &["rfc9112_2_2_anything_else_before_a_request_is_400"]),
    (
        "a line that ends in LF alone",
        &[
            "rfc9112_2_2_a_bare_lf_in_a_head_is_400",
            "rfc9112_2_2_a_bare_lf_is_400_at_once_and_not_when_the_head_is_whole",
        ],
    ),
    ("CR without LF, anywhere in a head", &["rfc9112_2_2_a_bare_cr_in_a_head_is_400"]),
    (
        "more than one space, a tab, VT or FF between the parts, white space at the end",
        &["rfc9112_3_other_white_space_than_one_sp_is_400"],
    ),
    ("a method that is not a token", &["rfc9110_9_1_a_method_that_is_no_token_is_400"]),
    (
        "a method nobody knows, `get` among them",
        &["rfc9110_9_1_a_method_nobody_knows_is_501_and_the_connection_goes_on"],
    ),
    (
        "a known method that the path does not have",
        &["rfc9110_15_5_6_a_method_that_the_path_does_not_have_is_405_with_allow"],
    ),
    ("`HTTP/1.2` to `HTTP/1.9`", &["rfc9110_6_2_a_higher_minor_version_is_1_1"]),
    (
        "another major version, well-formed; the HTTP/2 preface",
        &["rfc9110_15_6_6_another_major_version_is_505"],
    ),
    ("`http/1.1`, `HTTP/1`, `HTTP/1.10`, no version", &["rfc9112_2_3_a_malformed_version_is_400"]),
    ("over 8 KiB", &["rfc9112_3_a_target_over_8_kib_is_414"]),
    ("a request line of 8,000 bytes", &["rfc9112_3_a_request_line_of_8000_bytes_is_served"]),
    (
        "a space, a control byte, a byte from 0x7f on, `\"`, `#`, `<`, `>`",
        &["rfc9112_3_2_a_byte_that_no_target_may_have_is_400"],
    ),
    (
        "<code>&#124; ^ { } [ ] \\ %zz</code> and the grave accent",
        &["rfc9110_4_1_what_browsers_send_raw_is_opaque"],
    ),
    ("`http://host/path`", &["rfc9112_3_2_2_an_absolute_target_is_served_and_its_host_wins"]),
    (
        "the same with an empty path, or `HTTP://`",
        &["rfc9110_4_2_3_an_empty_path_is_a_slash_and_a_scheme_has_no_case"],
    ),
    (
        "the same without a host, with userinfo, with a port that is no port",
        &[
            "rfc9110_4_2_1_an_absolute_target_without_a_host_is_400",
            "rfc9110_4_2_4_userinfo_or_a_bad_port_in_a_target_is_400",
        ],
    ),
    (
        "`https://` on a connection without TLS",
        &["rfc9110_7_4_an_https_target_on_a_plain_connection_is_421"],
    ),
    (
        "another scheme, `host:port`, no `/` in front, `*` with another method than OPTIONS",
        &["rfc9112_3_2_a_form_that_does_not_fit_the_method_is_400"],
    ),
    ("CONNECT with host and port", &["rfc9110_9_3_6_connect_is_501_and_a_bad_port_400"]),
    ("CONNECT with anything else", &["rfc9110_9_3_6_connect_is_501_and_a_bad_port_400"]),
    ("`OPTIONS *`", &["rfc9110_9_3_7_options_asterisk_is_204_with_allow"]),
    ("TRACE", &["rfc9110_9_3_8_trace_is_501_and_echoes_nothing"]),
    ("none in HTTP/1.1", &["rfc9112_3_2_host_missing_or_twice_is_400"]),
    ("two lines, equal or not, in 1.0 too", &["rfc9112_3_2_host_missing_or_twice_is_400"]),
    (
        "not a host with perhaps a port, even beside an absolute target",
        &["rfc9112_3_2_a_host_that_is_not_host_and_port_is_400"],
    ),
    (
        "an empty one, or none in HTTP/1.0",
        &["rfc9112_3_3_an_empty_host_or_none_in_1_0_is_served_without_one"],
    ),
    (
        "another one than the absolute target's",
        &["rfc9112_3_2_2_an_absolute_target_is_served_and_its_host_wins"],
    ),
    (
        "white space in a name or before its colon",
        &["rfc9112_5_1_white_space_before_the_colon_is_400"],
    ),
    ("a folded line", &["rfc9112_5_2_a_folded_field_is_400"]),
    (
        "white space in front of the first field",
        &["rfc9112_2_2_white_space_before_the_first_field_is_400"],
    ),
    (
        "an empty name, one that is not a token, a line without a colon",
        &["rfc9110_5_1_a_name_that_is_no_token_is_400"],
    ),
    ("a control byte in a value, HTAB excepted", &["rfc9110_5_5_a_control_byte_in_a_value_is_400"]),
    ("0x80 to 0xff in a value", &["rfc9110_5_5_high_bytes_in_a_value_are_opaque"]),
    ("spaces and tabs around a value", &["rfc9110_5_5_white_space_around_a_value_is_trimmed"]),
    (
        "a head over 16 KiB, or over 100 lines",
        &["rfc9110_5_4_a_head_over_16_kib_is_431", "rfc9110_5_4_over_100_fields_is_431"],
    ),
    (
        "Content-Length of digits, leading zeros among them",
        &["rfc9110_8_6_a_length_is_decimal_digits_with_leading_zeros"],
    ),
    (
        "anything else in it: sign, space, `0x`, `_`, nothing",
        &["rfc9112_6_3_a_length_that_is_no_number_is_400"],
    ),
    (
        "two lengths, as lines or as a list, equal or not",
        &["rfc9112_6_3_more_than_one_length_is_400"],
    ),
    (
        "more than fits 64 bits, or than the route takes",
        &[
            "rfc9110_15_5_14_a_length_over_u64_or_over_the_limit_is_413",
            "rfc9110_15_5_14_a_route_may_have_a_limit_of_its_own",
        ],
    ),
    (
        "a body with GET, HEAD, DELETE, ...",
        &[
            "rfc9112_6_3_a_body_is_framed_whatever_the_method",
            "rfc9112_6_3_a_body_that_looks_like_a_request_is_not_answered",
        ],
    ),
    (
        "`Transfer-Encoding: chunked` in any case, among empty elements, over several lines",
        &["rfc9112_6_1_chunked_alone_is_decoded_in_any_case_and_among_empty_elements"],
    ),
    (
        "a list that does not end in `chunked`, an empty one",
        &["rfc9112_6_3_a_coding_that_does_not_end_in_one_chunked_is_400"],
    ),
    ("another coding before `chunked`", &["rfc9112_6_1_another_coding_before_chunked_is_501"]),
    (
        "`chunked` twice, or with a parameter",
        &["rfc9112_6_1_chunked_twice_or_with_a_parameter_is_400"],
    ),
    ("together with Content-Length", &["rfc9112_6_1_length_and_coding_together_is_400"]),
    ("in HTTP/1.0", &["rfc9112_6_1_a_coding_in_1_0_is_400"]),
    (
        "a size of up to 16 hexadecimal digits, behind any zeros",
        &["rfc9112_7_1_a_chunk_size_is_up_to_16_hex_digits_after_leading_zeros"],
    ),
    (
        "`0x`, a sign, `_`, a space, nothing, a 17th digit",
        &["rfc9112_7_1_a_chunk_size_outside_of_the_grammar_is_400"],
    ),
    ("extensions", &["rfc9112_7_1_1_extensions_are_checked_and_ignored"]),
    (
        "a size line over 256 bytes, over 16 KiB of extensions in a body",
        &["rfc9112_7_1_1_extensions_have_a_limit_for_the_line_and_for_the_body"],
    ),
    ("LF or CR alone in the size line", &["rfc9112_7_1_a_bare_lf_or_cr_in_a_size_line_is_400"]),
    ("data that no CRLF follows", &["rfc9112_7_1_data_that_do_not_end_in_crlf_are_400"]),
    (
        "more decoded bytes than the route takes",
        &["rfc9110_15_5_14_chunks_over_the_limit_are_413_when_their_size_is_read"],
    ),
    (
        "trailers",
        &[
            "rfc9112_7_1_2_trailers_have_the_grammar_of_fields",
            "rfc9110_6_5_1_a_handler_sees_the_trailers_of_a_request_apart_from_its_head",
        ],
    ),
    ("over 4 KiB or 32 of them", &["rfc9110_5_4_trailers_over_4_kib_or_32_are_431"]),
    (
        "a trailer that would frame, route, authorise or describe",
        &["rfc9110_6_5_1_a_trailer_changes_neither_framing_nor_connection_nor_host"],
    ),
    (
        "the connection's end before the body's",
        &[
            "rfc9112_8_a_body_that_ends_before_its_end_is_never_2xx",
            "rfc9112_8_a_head_that_is_cut_short_is_not_answered",
        ],
    ),
    (
        "`Expect: 100-continue` and a body to come",
        &[
            "rfc9110_10_1_1_a_100_comes_when_the_handler_reads",
            "rfc9112_9_3_2_a_100_does_not_overtake_an_answer",
        ],
    ),
    (
        "the same in HTTP/1.0, without a body, or with the body here",
        &[
            "rfc9110_10_1_1_no_100_where_none_is_due",
            "rfc9110_10_1_1_no_100_if_some_of_the_body_is_here",
        ],
    ),
    (
        "another expectation",
        &["rfc9110_10_1_1_another_expectation_is_417_and_the_connection_goes_on"],
    ),
    (
        "(the handler answers without having read)",
        &["rfc9110_10_1_1_a_final_status_before_any_read_closes"],
    ),
    (
        "`close` in any element of any Connection line",
        &["rfc9112_9_6_close_in_any_element_of_any_line_closes"],
    ),
    ("HTTP/1.0", &["rfc9112_9_3_1_0_closes_unless_it_asks_for_keep_alive_and_the_length_is_known"]),
    (
        "`Connection: Content-Length`",
        &["rfc9110_7_6_1_a_framing_field_named_in_connection_still_frames"],
    ),
    (
        "Upgrade",
        &[
            "rfc9110_7_8_an_upgrade_that_no_route_takes_is_ignored",
            "rfc9110_7_8_http_1_0_is_never_switched",
            "rfc9110_7_8_nothing_that_came_behind_the_request_is_lost_or_read_twice",
        ],
    ),
    (
        "no Upgrade, where a route speaks another protocol alone",
        &["rfc9110_7_8_who_does_not_ask_for_the_protocol_is_told_of_it_and_kept"],
    ),
    (
        "a body that the handler has not read",
        &[
            "rfc9112_9_3_an_unread_body_is_drained_up_to_64_kib",
            "rfc9112_9_3_whether_an_unread_body_is_drained_is_said_before_it_has_come",
            "rfc9112_9_6_after_close_an_unread_body_does_not_cost_the_answer",
        ],
    ),
    (
        "requests behind one that was refused",
        &[
            "rfc9112_9_6_after_an_error_the_earlier_ones_are_answered_and_the_later_are_not",
            "rfc9112_9_6_an_error_reaches_a_client_that_goes_on_sending",
            "rfc9112_9_6_random_connections_are_answered_as_the_rules_predict",
        ],
    ),
    ("several requests at once", &["rfc9112_9_3_2_pipelined_requests_are_answered_in_their_order"]),
    (
        "the client's FIN behind a whole request",
        &["rfc9112_9_6_a_fin_behind_a_whole_request_does_not_cost_its_answer"],
    ),
    (
        "a head that takes over 10 s from its first byte",
        &["rfc9110_15_5_9_a_head_that_does_not_end_in_time_is_408"],
    ),
    (
        "60 s of nothing",
        &["rfc9112_9_5_a_connection_on_which_nothing_has_begun_closes_without_a_word"],
    ),
    (
        "to HEAD; 1xx, 204, 304",
        &[
            "rfc9112_6_3_204_and_304_have_no_content_whatever_the_handler_gives",
            "rfc9112_6_3_content_of_every_kind_stays_behind_a_head_that_has_none",
            "rfc9110_9_3_2_an_error_to_head_has_no_content_either",
        ],
    ),
    (
        "1xx, 204",
        &[
            "rfc9110_8_6_204_and_1xx_tell_no_length",
            "rfc9110_10_1_1_a_100_comes_when_the_handler_reads",
        ],
    ),
    ("304, and to HEAD", &["rfc9110_8_6_304_and_head_tell_the_length_that_get_has"]),
    ("to HEAD, where the path has GET", &["rfc9110_9_3_2_head_is_get_without_content"]),
    ("205", &["rfc9110_15_3_6_a_205_says_that_it_is_empty"]),
    (
        "content of unknown length",
        &["rfc9112_6_1_an_unknown_length_is_chunked_and_to_1_0_delimited_by_the_close"],
    ),
    ("a refusal", &["rfc9110_15_5_a_refusal_says_in_one_line_what_was_wrong"]),
    ("Date", &["rfc9110_6_6_1_every_answer_below_500_has_a_date"]),
    ("version", &["rfc9110_6_2_the_version_is_1_1_also_to_1_0"]),
    (
        "a handler's name that is not a token, a control byte in its value",
        &["rfc9110_11_1_a_header_that_would_split_the_response_is_refused"],
    ),
    (
        "a handler's own Content-Length, Transfer-Encoding, Connection",
        &["rfc9112_6_a_handler_cannot_say_where_its_response_ends"],
    ),
    (
        "an interim status (1xx) as a handler's response",
        &[
            "rfc9110_15_2_an_interim_status_of_a_handler_is_500",
            "rfc9110_15_2_an_interim_response_is_no_answer",
        ],
    ),
    (
        "a handler's trailers",
        &["rfc9112_7_1_2_trailers_are_sent_in_chunks_to_a_client_that_takes_them_and_to_no_other"],
    ),
    (
        "more or fewer bytes than the length that was said",
        &["rfc9110_8_6_a_body_of_another_length_than_promised_ends_the_connection"],
    ),
];

#[test]
fn each_row_of_the_page_has_a_test_that_is_named_after_its_section() {
    let page = read("docs/rfc9112.md");
    let rows: Vec<Vec<&str>> = page.lines().filter_map(cells).collect();
    let on_the_page: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
    let here: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    assert_eq!(on_the_page, here, "the rows of the page, and those of this test");
    let known = names();
    for (cells, (row, tests)) in rows.iter().zip(ROWS) {
        for test in *tests {
            assert!(known.iter().any(|name| name == test), "{row}: there is no {test}");
        }
        let sections = prefixes(cells[cells.len() - 2]);
        let named = |test: &&str| sections.iter().any(|section| test.starts_with(section));
        assert!(tests.iter().any(named), "{row}: {sections:?}, {tests:?}");
    }
}

#[test]
fn each_test_named_after_a_section_holds_a_row() {
    for name in names().iter().filter(|name| name.starts_with("rfc")) {
        assert!(ROWS.iter().any(|(_, tests)| tests.contains(&&**name)), "{name} has no row");
    }
}

/// The cells of a row that is neither a heading nor a rule.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<&str> = inner.split(" | ").collect();
    (cells[1] != "Squall").then_some(cells)
}

/// `3.2` is a section of RFC 9112 and `S 7.4` one of RFC 9110, as is what follows it: how names of
/// tests begin.
fn prefixes(sections: &str) -> Vec<String> {
    let mut rfc = "rfc9112";
    let sections = sections.split(", ").map(|section| {
        let number = section.strip_prefix("S ").inspect(|_| rfc = "rfc9110").unwrap_or(section);
        format!("{rfc}_{}_", number.replace('.', "_"))
    });
    sections.collect()
}

/// The names of all tests that speak through a socket.
fn names() -> Vec<String> {
    let files = [
        "rfc9112_requests",
        "rfc9112_bodies",
        "rfc9112_connection",
        "rfc9112_model",
        "http_content",
        "upgrade",
    ];
    let texts = files.map(|file| read(&format!("tests/{file}.rs")));
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| Some(line.strip_prefix("fn ")?.split_once('(')?.0.to_owned())).collect()
}

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).expect("the file is there")
}
