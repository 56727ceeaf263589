#![allow(clippy::unwrap_used)]

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn from(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn header(version_command: u8, family_transport: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_command, family_transport]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn addition(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes
}

/// What a balancer would send for a connection between these two.
fn sent(source: SocketAddr, destination: SocketAddr, additions: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            body.extend(source.octets());
            body.extend(destination.octets());
            0x11
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            body.extend(source.octets());
            body.extend(destination.octets());
            0x21
        }
        _ => panic!("of one family"),
    };
    body.extend(source.port().to_be_bytes());
    body.extend(destination.port().to_be_bytes());
    body.extend(additions);
    header(0x21, family, &body)
}

fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len() - FIXED + 7).unwrap();
    bytes[14..16].copy_from_slice(&length.to_be_bytes());
    bytes.extend(addition(CRC32C, &[0; 4]));
    let sum = crc32c::crc32c(&bytes);
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Result<Parsed, Malformed> {
    parse(bytes)
}

#[test]
fn a_line_tells_the_client() {
    for (line, source) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
            from("192.0.2.7:56324"),
        ),
        ("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", from("[2001:db8::7]:1")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN whatever stands here\r\n", None),
    ] {
        let length = line.len();
        let with_more = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(
            read(with_more.as_bytes()),
            Ok(Parsed::Complete { length, source }),
            "{line}"
        );
        for cut in 0..length {
            assert_eq!(read(&line.as_bytes()[..cut]), Ok(Parsed::Incomplete), "{line}");
        }
    }
}

#[test]
fn a_line_that_is_none_is_refused() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n",
        "PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(read(endless.as_bytes()), Err(Malformed::Line));
}

#[test]
fn a_binary_header_tells_the_client() {
    let four = sent(
        "192.0.2.7:56324".parse().unwrap(),
        "198.51.100.1:443".parse().unwrap(),
        &[],
    );
    let six = sent(
        "[2001:db8::7]:9".parse().unwrap(),
        "[::1]:443".parse().unwrap(),
        &addition(2, b"shop.example"),
    );
    for (bytes, source) in [(four, "192.0.2.7:56324"), (six, "[2001:db8::7]:9")] {
        for bytes in [bytes.clone(), checked(bytes)] {
            let length = bytes.len();
            for cut in 0..length {
                assert_eq!(read(&bytes[..cut]), Ok(Parsed::Incomplete));
            }
            let with_more = [&bytes[..], b"PRI * HTTP/2.0"].concat();
            let source = from(source);
            assert_eq!(read(&with_more), Ok(Parsed::Complete { length, source }));
        }
    }
}

#[test]
fn connections_of_nobody_keep_their_peer() {
    let of_socket = [0; 216];
    for bytes in [
        header(0x20, 0x00, &[]),
        // LOCAL: the rest means nothing, however wrong.
        header(0x20, 0xff, b"rest"),
        header(0x21, 0x00, &[]),
        header(0x21, 0x00, &addition(4, b"padding")),
        header(0x21, 0x31, &of_socket),
        header(0x21, 0x12, &[1; 12]),
    ] {
        let length = bytes.len();
        assert_eq!(read(&bytes), Ok(Parsed::Complete { length, source: None }));
    }
}

#[test]
fn a_binary_header_with_what_does_not_exist_is_refused() {
    let addresses = [1; 12];
    for (bytes, why) in [
        (header(0x11, 0x11, &addresses), Malformed::Binary),
        (header(0x22, 0x11, &addresses), Malformed::Binary),
        (header(0x21, 0x41, &addresses), Malformed::Binary),
        (header(0x21, 0x13, &addresses), Malformed::Binary),
        (header(0x21, 0x11, &addresses[1..]), Malformed::Binary),
        (header(0x21, 0x21, &addresses), Malformed::Binary),
        (header(0x21, 0x00, &[4, 0]), Malformed::Additions),
        (header(0x21, 0x00, &[4, 0, 2, 0]), Malformed::Additions),
        (header(0x21, 0x00, &addition(CRC32C, &[0; 3])), Malformed::Additions),
        (header(0x21, 0x00, &addition(CRC32C, &[0; 4])), Malformed::Checksum),
        (header(0x21, 0x00, &vec![0; LONGEST])[..20].to_vec(), Malformed::TooLong),
    ] {
        assert_eq!(read(&bytes), Err(why), "{bytes:?}");
    }
    assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\x20"), Err(Malformed::None));
    assert_eq!(read(&[&SIGNATURE[..], &[0x10]].concat()), Err(Malformed::Binary));
}

fn address() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let four = (any::<[u8; 4]>(), any::<u16>(), any::<[u8; 4]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    let six = (any::<[u8; 16]>(), any::<u16>(), any::<[u8; 16]>(), any::<u16>())
        .prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    prop_oneof![four, six]
}

proptest! {
    #[test]
    fn what_a_balancer_sends_is_read_in_both_versions(
        (source, destination) in address(),
        additions in vec((prop_oneof![Just(1u8), Just(2), Just(4), Just(0x20), Just(0xee)], vec(any::<u8>(), 0..40)), 0..4),
        sum in any::<bool>(),
    ) {
        let additions: Vec<u8> = additions.iter().flat_map(|(kind, value)| addition(*kind, value)).collect();
        let bytes = sent(source, destination, &additions);
        let bytes = if sum { checked(bytes) } else { bytes };
        prop_assert_eq!(read(&bytes), Ok(Parsed::Complete { length: bytes.len(), source: Some(source) }));
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
        prop_assert_eq!(read(line.as_bytes()), Ok(Parsed::Complete { length: line.len(), source: Some(source) }));
    }

    #[test]
    fn a_flipped_bit_of_a_checked_header_never_gives_another_client(
        (source, destination) in address(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut bytes = checked(sent(source, destination, &addition(2, b"name")));
        // The length and the kinds of additions decide whether there is a checksum at all.
        let addresses = if source.is_ipv4() { 12 } else { 36 };
        let at = FIXED + at.index(addresses);
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(read(&bytes), Err(Malformed::Checksum));
    }

    /// Whatever comes: an end within the bounds, the same for the same bytes with more behind them.
    #[test]
    fn any_bytes_are_read_or_refused(
        front in prop_oneof![Just(&b""[..]), Just(LINE), Just(&SIGNATURE[..]), Just(&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..])],
        rest in vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\n'), Just(0)], 0..400),
        more in vec(any::<u8>(), 0..40),
    ) {
        let bytes = [front, &rest].concat();
        let longer = [&bytes[..], &more].concat();
        match read(&bytes) {
            Ok(Parsed::Incomplete) => prop_assert!(bytes.len() < LONGEST),
            Ok(Parsed::Complete { length, .. }) => {
                prop_assert!(length <= bytes.len() && length <= LONGEST);
                prop_assert_eq!(read(&longer), read(&bytes));
                for cut in 0..length {
                    prop_assert_eq!(read(&bytes[..cut]), Ok(Parsed::Incomplete));
                }
            }
            Err(why) => prop_assert_eq!(read(&longer), Err(why)),
        }
    }
}
