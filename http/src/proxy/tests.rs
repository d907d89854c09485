use super::*;
use crate::head::HeadParser;
use crate::limits::Limits;

const OURS: &str = "10.0.0.1";

/// The client of a request with these field lines that comes from `peer`, by a server that trusts
/// 10.0.0.0/8 and 2001:db8::/32: address, scheme, host.
fn client(family: Family, peer: &str, lines: &[&str]) -> (String, Scheme, String) {
    let proxies = TrustedProxies::new(["10.0.0.0/8", "2001:db8::/32"], family).unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: own\r\n{}\r\n\r\n", lines.join("\r\n"));
    let head = head.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let mut parser = HeadParser::new();
    parser.parse(head.as_bytes(), &Limits::default()).unwrap().expect("a whole head");
    let head = parser.head(head.as_bytes());
    let client = proxies.resolve(peer.parse().unwrap(), head.host(), head.fields());
    let host = String::from_utf8(client.host.unwrap().into_owned()).unwrap();
    (client.ip.to_string(), client.scheme, host)
}

fn ip(family: Family, lines: &[&str]) -> String {
    client(family, OURS, lines).0
}

const ALL: [Family; 3] = [Family::XForwarded, Family::XRealIp, Family::Forwarded];

/// All that a stranger could claim.
const FORGED: [&str; 6] = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil",
    "X-Real-Ip: 6.6.6.6",
    "X-Scheme: https",
    "Forwarded: for=6.6.6.6;proto=https;host=evil",
];

#[test]
fn a_peer_that_is_not_trusted_is_the_client_whatever_it_claims() {
    for family in ALL {
        let own = ("1.2.3.4".to_owned(), Scheme::Http, "own".to_owned());
        assert_eq!(client(family, "1.2.3.4", &FORGED), own);
        let own = ("11.0.0.1".to_owned(), Scheme::Http, "own".to_owned());
        assert_eq!(client(family, "11.0.0.1", &FORGED), own, "one bit beside the network");
    }
}

// A proxy passes on what it does not set: a stranger's fields of the two other families.
#[test]
fn forged_fields_of_the_other_families_are_not_read() {
    let [x_for, x_proto, x_host, x_real_ip, x_scheme, forwarded] = FORGED;
    for (family, own, others) in [
        (Family::XForwarded, "X-Forwarded-For: 1.2.3.4", &[x_real_ip, x_scheme, forwarded][..]),
        (Family::XRealIp, "X-Real-Ip: 1.2.3.4", &[x_for, x_proto, x_host, forwarded]),
        (
            Family::Forwarded,
            "Forwarded: for=1.2.3.4",
            &[x_for, x_proto, x_host, x_real_ip, x_scheme],
        ),
    ] {
        let expected = ("1.2.3.4".to_owned(), Scheme::Http, "own".to_owned());
        assert_eq!(client(family, OURS, &[others, &[own]].concat()), expected, "{family:?}");
        let expected = (OURS.to_owned(), Scheme::Http, "own".to_owned());
        assert_eq!(client(family, OURS, others), expected, "{family:?}");
    }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_as_far_as_hops_are_trusted() {
    for (lines, expected) in [
        (&["X-Forwarded-For: 1.2.3.4"][..], "1.2.3.4"),
        (&["X-Forwarded-For: 6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (&["X-Forwarded-For: 6.6.6.6,1.2.3.4 ,\t10.9.9.9"], "1.2.3.4"),
        (
            &["X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 1.2.3.4", "X-FORWARDED-FOR: 10.2.2.2"],
            "1.2.3.4",
        ),
        // Everybody is trusted: a client of our own network.
        (&["X-Forwarded-For: 10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (&[], OURS),
        (&["X-Forwarded-For: 1.2.3.4:5678"], "1.2.3.4"),
        (&["X-Forwarded-For: 2001:db9::1"], "2001:db9::1"),
        (&["X-Forwarded-For: 9.9.9.9, [2001:db8::7]:80"], "9.9.9.9"),
        (&["X-Forwarded-For: [2001:db9::1]"], "2001:db9::1"),
        (&["X-Forwarded-For: ::ffff:1.2.3.4"], "1.2.3.4"),
        (&["X-Forwarded-For: 9.9.9.9, ::ffff:10.1.1.1"], "9.9.9.9"),
    ] {
        assert_eq!(ip(Family::XForwarded, lines), expected, "{lines:?}");
    }
}

// What is left of an element that nobody understands may be anybody's.
#[test]
fn x_forwarded_for_stops_at_the_first_element_that_is_no_address() {
    for (line, expected) in [
        ("X-Forwarded-For: 6.6.6.6, unknown", OURS),
        ("X-Forwarded-For: 6.6.6.6, unknown, 10.2.2.2", "10.2.2.2"),
        ("X-Forwarded-For: 6.6.6.6,, 10.2.2.2", "10.2.2.2"),
        ("X-Forwarded-For: 6.6.6.6,", OURS),
        ("X-Forwarded-For:", OURS),
        ("X-Forwarded-For: 01.2.3.4", OURS),
        ("X-Forwarded-For: 1.2.3", OURS),
        ("X-Forwarded-For: 1.2.3.4 5.6.7.8", OURS),
        ("X-Forwarded-For: 1.2.3.4:port", OURS),
        ("X-Forwarded-For: [1.2.3.4]", OURS),
        ("X-Forwarded-For: \u{e9}", OURS),
    ] {
        assert_eq!(ip(Family::XForwarded, &[line]), expected, "{line}");
    }
}

#[test]
fn x_forwarded_proto_and_host_are_the_last_hops_word() {
    let lines = [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: http, HTTPS",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Host: shop.example:8443",
    ];
    let expected = ("1.2.3.4".to_owned(), Scheme::Https, "shop.example:8443".to_owned());
    assert_eq!(client(Family::XForwarded, OURS, &lines), expected);
    // What is no scheme and no host says nothing.
    let lines = ["X-Forwarded-Proto: javascript", "X-Forwarded-Host: a/b"];
    let expected = (OURS.to_owned(), Scheme::Http, "own".to_owned());
    assert_eq!(client(Family::XForwarded, OURS, &lines), expected);
}

#[test]
fn x_real_ip_counts_on_one_line_only() {
    let lines = ["X-Real-Ip: 1.2.3.4", "X-Scheme: https"];
    let expected = ("1.2.3.4".to_owned(), Scheme::Https, "own".to_owned());
    assert_eq!(client(Family::XRealIp, OURS, &lines), expected);
    assert_eq!(ip(Family::XRealIp, &["X-Real-Ip: 1.2.3.4", "X-Real-Ip: 6.6.6.6"]), OURS);
    assert_eq!(ip(Family::XRealIp, &["X-Real-Ip: 1.2.3.4, 6.6.6.6"]), OURS);
    let (_, scheme, _) = client(Family::XRealIp, OURS, &["X-Scheme: https", "X-Scheme: https"]);
    assert_eq!(scheme, Scheme::Http);
}

#[test]
fn rfc7239_4_an_element_tells_address_scheme_and_host() {
    let line = "Forwarded: For=\"[2001:db9::1]:80\"; proto=https;host=\"shop.example:8443\";by=_x";
    let expected = ("2001:db9::1".to_owned(), Scheme::Https, "shop.example:8443".to_owned());
    assert_eq!(client(Family::Forwarded, OURS, &[line]), expected);
    for (value, expected) in [
        ("for=1.2.3.4", "1.2.3.4"),
        ("for=\"1.2.3.4:5678\"", "1.2.3.4"),
        ("for=\"1.2.3.4:_secret\"", "1.2.3.4"),
        ("for=\"1\\.2.3\\.4\"", "1.2.3.4"), // escapes that need not be
        (";;for=1.2.3.4;", "1.2.3.4"),
        ("for=6.6.6.6, for=1.2.3.4, for=10.2.2.2", "1.2.3.4"),
        ("for=\"[2001:db8::1]\"", "2001:db8::1"),
    ] {
        assert_eq!(ip(Family::Forwarded, &[&format!("Forwarded: {value}")]), expected, "{value}");
    }
    let lines = ["Forwarded: for=6.6.6.6", "forwarded: for=1.2.3.4"];
    assert_eq!(ip(Family::Forwarded, &lines), "1.2.3.4");
}

#[test]
fn rfc7239_6_who_is_unknown_or_hidden_has_no_address_but_a_scheme() {
    for node in ["unknown", "_hidden", "\"_hidden:80\"", "\"unknown:_x\""] {
        let line = format!("Forwarded: for=6.6.6.6, for={node};proto=https");
        let expected = (OURS.to_owned(), Scheme::Https, "own".to_owned());
        assert_eq!(client(Family::Forwarded, OURS, &[&line]), expected, "{line}");
    }
}

#[test]
fn rfc7239_4_what_is_not_the_grammar_ends_the_walk() {
    for value in [
        "for",
        "for=",
        "for=1.2.3.4 x",
        "for=1.2.3.4;for=6.6.6.6",
        "for=\"1.2.3.4",
        "for=\"1.2.3.4\"x",
        "for=2001:db9::1",     // a colon asks for quotes
        "for=\"2001:db9::1\"", // and IPv6 for brackets
        "for=\"[2001:db9::1]x\"",
        "for=\"1.2.3.4:123456\"",
        "f or=1.2.3.4",
        "=1.2.3.4",
        "for=1.2.3.4;proto",
        "for = 1.2.3.4",
    ] {
        assert_eq!(ip(Family::Forwarded, &[&format!("Forwarded: {value}")]), OURS, "{value}");
    }
}

// The stranger opens a quote, or escapes one, so that what our proxy adds becomes a part of it.
#[test]
fn a_strangers_open_quote_cannot_swallow_the_trusted_element() {
    for forged in [
        "for=6.6.6.6;x=\"",
        "for=6.6.6.6;x=\"\\",
        "for=6.6.6.6;x=\"\"\"",
        "\"",
        "\\\"",
        "for=\"6.6.6.6\";x=\", for=\"7.7.7.7",
    ] {
        for trusted in ["for=1.2.3.4", "for=\"1.2.3.4:80\"", "for=1.2.3.4;x=\"a, \\\" b\\\\\""] {
            let line = format!("Forwarded: {forged}, {trusted}");
            assert_eq!(ip(Family::Forwarded, &[&line]), "1.2.3.4", "{line}");
        }
    }
}

#[test]
fn networks_that_cannot_be_meant_are_refused() {
    for text in
        ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "::1/0", "host", "::ffff:10.0.0.0/104"]
    {
        assert!(TrustedProxies::new([text], Family::Forwarded).is_err(), "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "127.0.0.1", "::1", "10.0.0.0/8"] {
        assert!(TrustedProxies::new([text], Family::Forwarded).is_ok(), "{text}");
    }
    let all = TrustedProxies::new(["0.0.0.0/0"], Family::Forwarded).unwrap();
    assert!(all.trusts("255.255.255.255".parse().unwrap()));
    assert!(!all.trusts("::1".parse().unwrap()));
}
