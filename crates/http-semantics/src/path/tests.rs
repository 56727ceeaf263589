#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn normal(raw: &str) -> String {
    Path::normalize(raw)
        .unwrap_or_else(|error| panic!("{raw}: {error}"))
        .as_str()
        .to_owned()
}

fn refused(raw: &str) -> PathError {
    match Path::normalize(raw) {
        Ok(path) => panic!("{raw} became {}", path.as_str()),
        Err(error) => error,
    }
}

#[test]
fn a_normal_path_is_borrowed() {
    for raw in [
        "/",
        "*",
        "/orders/7",
        "/a.b/..c/...",
        "/my%20file.txt",
        "/caf%C3%A9",
        "/a%25b",
        "/a+b;v=1/@:,!",
        "/a%2Fb",
        "/x/",
    ] {
        let path = Path::normalize(raw).unwrap();
        assert!(path.was_normal(), "{raw}");
        assert_eq!(path.as_str(), raw);
    }
}

#[test]
fn unreserved_escapes_are_decoded_and_others_written_in_upper_case() {
    assert_eq!(normal("/%7Euser/%41%2d"), "/~user/A-");
    assert_eq!(normal("/a%3ab%2fc%c3%a9"), "/a%3Ab%2Fc%C3%A9");
    assert_eq!(normal("/a%252e"), "/a%252e");
    assert_eq!(normal("/a[0]|^"), "/a%5B0%5D%7C%5E");
}

#[test]
fn dot_segments_are_resolved_however_they_are_written() {
    assert_eq!(normal("/a/./b"), "/a/b");
    assert_eq!(normal("/a/b/../c"), "/a/c");
    assert_eq!(normal("/a/b/.."), "/a/");
    assert_eq!(normal("/a/."), "/a/");
    assert_eq!(normal("/a/.."), "/");
    assert_eq!(normal("/a/%2e%2E/b"), "/b");
    assert_eq!(normal("/a/.%2e"), "/");
    assert_eq!(normal("/%2e"), "/");
    assert_eq!(normal("/api../admin"), "/api../admin");
}

#[test]
fn slashes_are_merged_and_the_last_one_stays() {
    assert_eq!(normal("//admin//x"), "/admin/x");
    assert_eq!(normal("//"), "/");
    assert_eq!(normal("/a//"), "/a/");
    assert_eq!(normal("/a//../b"), "/b");
    assert_eq!(normal("/test//update"), "/test/update");
}

#[test]
fn nothing_leads_above_the_root() {
    for raw in ["/..", "/../x", "/a/../..", "/%2e%2e/x", "//..", "/./../a", "/a/../../a"] {
        assert_eq!(refused(raw), PathError::AboveRoot, "{raw}");
    }
}

#[test]
fn an_encoded_slash_is_no_separator_and_is_told() {
    let kind = |raw| Path::normalize(raw).unwrap().encoded_slash();
    assert_eq!(kind("/a/b"), EncodedSlash::None);
    assert_eq!(kind("/a%2Fb"), EncodedSlash::Harmless);
    assert_eq!(kind("/a%2fb/%2e"), EncodedSlash::Harmless);
    assert_eq!(kind("/a%252F.."), EncodedSlash::None);
    for raw in [
        "/a/..%2Fb",
        "/a%2f..",
        "/a%2F.%2Fb",
        "/%2e%2e%2Fb",
        "/x/y%2F%2E%2e/z",
        "/..%2F",
    ] {
        assert_eq!(kind(raw), EncodedSlash::HidesDotSegment, "{raw}");
    }
    assert_eq!(normal("/a%2F..%2Fb"), "/a%2F..%2Fb");
}

#[test]
fn an_encoded_backslash_stays_unless_it_hides_a_dot_segment() {
    assert_eq!(normal("/a%5cb"), "/a%5Cb");
    assert_eq!(Path::normalize("/a%5Cb").unwrap().encoded_slash(), EncodedSlash::None);
    for raw in ["/..%5Cb", "/a%5c..", "/a%2F..%5Cb", "/%2e%2e%5c"] {
        assert_eq!(refused(raw), PathError::BackslashHidesDotSegment, "{raw}");
    }
}

#[test]
fn what_no_path_may_hold_is_refused() {
    assert_eq!(refused(""), PathError::NotAbsolute);
    assert_eq!(refused("orders"), PathError::NotAbsolute);
    assert_eq!(refused("**"), PathError::NotAbsolute);
    assert_eq!(refused("/a\\b"), PathError::Backslash);
    assert_eq!(refused("/a\u{0}"), PathError::Control(0));
    assert_eq!(refused("/a b"), PathError::Control(0x20));
    assert_eq!(refused("/a\u{7f}"), PathError::Control(0x7F));
    assert_eq!(refused("/a\r\nb"), PathError::Control(0x0D));
    assert_eq!(refused("/é"), PathError::NotAscii(0xC3));
    assert_eq!(refused("/{id}"), PathError::Illegal('{'));
    assert_eq!(refused("/a?b"), PathError::Illegal('?'));
    assert_eq!(refused("/a#b"), PathError::Illegal('#'));
    assert_eq!(refused("/a%00"), PathError::EncodedNul);
    for raw in ["/%", "/%4", "/%zz", "/a%2/b", "/%%41"] {
        assert_eq!(refused(raw), PathError::BadEscape, "{raw}");
    }
    assert_eq!(refused("/../\\"), PathError::AboveRoot);
}

/// The rules again, slowly and in another order.
fn model(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut decoded = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte == b'%' {
            let value = u8::from_str_radix(raw.get(at + 1..at + 3)?, 16).ok()?;
            if raw.as_bytes()[at + 1] == b'+' || value == 0 {
                return None;
            }
            if is_unreserved(value) {
                decoded.push(char::from(value));
            } else {
                decoded.push_str(&format!("%{value:02X}"));
            }
            at += 3;
            continue;
        }
        match byte {
            b'[' | b']' | b'|' | b'^' => decoded.push_str(&format!("%{byte:02X}")),
            b'/' => decoded.push('/'),
            _ if is_path_character(byte) => decoded.push(char::from(byte)),
            _ => return None,
        }
        at += 1;
    }
    let mut merged = decoded;
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    let mut stack: Vec<&str> = Vec::new();
    let mut directory = true;
    for segment in merged.strip_prefix('/')?.split('/') {
        directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                stack.pop()?;
            }
            _ => stack.push(segment),
        }
    }
    let slash = if directory && !stack.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", stack.join("/")))
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("/".to_owned()),
        2 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => prop::sample::select(vec!["%2e", "%2E", "%2f", "%2F", "%5c", "%25", "%00", "%", "%4", "%41", "%c3%a9"])
            .prop_map(str::to_owned),
        2 => "[a-zA-Z0-9~;:@+=,-]{1,3}",
        1 => "[ -~]",
        1 => any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn normalising_twice_is_the_same_as_once(pieces in prop::collection::vec(piece(), 0..12)) {
        let raw = format!("/{}", pieces.concat());
        if let Ok(once) = Path::normalize(&raw) {
            let twice = Path::normalize(once.as_str()).unwrap();
            prop_assert!(twice.was_normal());
            prop_assert_eq!(&twice, &once);
        }
    }

    #[test]
    fn it_agrees_with_the_slow_model(pieces in prop::collection::vec(piece(), 0..12)) {
        let raw = format!("/{}", pieces.concat());
        match Path::normalize(&raw) {
            Ok(path) => prop_assert_eq!(Some(path.as_str().to_owned()), model(&raw)),
            Err(PathError::BackslashHidesDotSegment) => prop_assert!(model(&raw).is_some()),
            Err(_) => prop_assert_eq!(None, model(&raw)),
        }
    }

    #[test]
    fn what_is_normal_has_no_way_out(pieces in prop::collection::vec(piece(), 0..12)) {
        let raw = format!("/{}", pieces.concat());
        if let Ok(path) = Path::normalize(&raw) {
            prop_assert!(path.as_str().starts_with('/'));
            prop_assert!(!path.as_str().contains("//"));
            prop_assert!(!path.segments().any(|segment| matches!(segment, "." | "..")));
            // Whoever decodes the whole path and reads its slashes finds a dot segment only where we say so.
            let decoded = percent::decode(path.as_str());
            let dots = decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"." || part == b"..");
            prop_assert_eq!(dots, path.encoded_slash() == EncodedSlash::HidesDotSegment);
        }
    }

    #[test]
    fn any_text_at_all_is_answered(raw in any::<String>()) {
        let _ = Path::normalize(&raw);
    }
}
