//! Field names that are not for everyone: those that speak of the way of a request, and those that carry a message.
//!
//! Services behind a gateway trust some names because the gateway alone may set them. Many turn `-` and `_` into one
//! another when they read names (CGI does), so a name is compared with both taken for equal: `X_Forwarded_For` is
//! dropped like `X-Forwarded-For`. Other names with underscores are nobody's business here.

use http::{HeaderMap, HeaderName};

/// Why a document may not change a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It says where the message ends.
    #[error("it frames the message, and is written by the gateway")]
    Framing,
    /// It ends at each hop (RFC 9110 §7.6.1).
    #[error("it speaks of one connection only, and is written by the gateway")]
    HopByHop,
    /// The upstream's `host` decides it.
    #[error("the Host that a target gets is set by `host` of the upstream")]
    Host,
    /// The gateway sets it on every message.
    #[error("it is set by the gateway")]
    Ours,
}

/// Names that a client may not send to a service: it would speak for the gateway. Lower case, with dashes.
const RESERVED: [&str; 12] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-request-id",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    // CGI services see it as HTTP_PROXY and send their own requests through it.
    "proxy",
];

/// Beginnings of such names.
const RESERVED_BEGINNINGS: [&str; 7] = [
    "x-forwarded-",
    "x-consumer-",
    "x-authenticated-",
    "x-client-cert-",
    "x-ssl-client-",
    "ssl-client-",
    "sluice-",
];

/// Reserved only in their forms with underscores: as they are, they have rules of their own.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Ends at each hop, whether or not a Connection field names it.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
];

const OURS: [&str; 8] = [
    "forwarded",
    "via",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "sluice-version",
];

/// A client that is not trusted may not send this name, in whatever case and with whatever dashes; also the forms with
/// underscores of the names that frame a message.
pub fn is_reserved(name: &str) -> bool {
    let name = name.as_bytes();
    // Most fields end here: no reserved name begins otherwise.
    let Some(b'c' | b'f' | b'p' | b's' | b't' | b'x' | b'C' | b'F' | b'P' | b'S' | b'T' | b'X') = name.first() else {
        return false;
    };
    RESERVED.iter().any(|reserved| same(name, reserved))
        || RESERVED_BEGINNINGS.iter().any(|beginning| begins(name, beginning))
        || (name.contains(&b'_') && FRAMING.iter().any(|framing| same(name, framing)))
}

/// A reserved name with an underscore for a dash. Nobody honest sends it: it is dropped whoever it comes from.
pub fn is_disguised(name: &str) -> bool {
    name.as_bytes().contains(&b'_') && is_reserved(name)
}

/// Whether what a request says under this name is to be seen by whoever looks at it before it is forwarded: routes and
/// expressions. It is not where it will be dropped on the way, or it would decide something all the same.
pub fn is_hidden(name: &str, trusted: bool) -> bool {
    if trusted { is_disguised(name) } else { is_reserved(name) }
}

/// Why a document may not set, add or remove the field, if so. Its forms with underscores are as forbidden.
pub fn forbidden(name: &str) -> Option<Forbidden> {
    let bytes = name.as_bytes();
    let one_of = |names: &[&str]| names.iter().any(|known| same(bytes, known));
    if one_of(&FRAMING) {
        Some(Forbidden::Framing)
    } else if one_of(&HOP_BY_HOP) {
        Some(Forbidden::HopByHop)
    } else if same(bytes, "host") {
        Some(Forbidden::Host)
    } else if one_of(&OURS) || begins(bytes, "sluice-") {
        Some(Forbidden::Ours)
    } else {
        None
    }
}

/// Takes out of the fields after a body what none of them may say, whoever sent it: what frames or routes a message
/// (RFC 9110 §6.5.1), what ends at each hop, and all that only the gateway says. Services that merge trailers into the
/// fields of the head would take it for ours.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let unwanted = |name: &&HeaderName| is_reserved(name.as_str()) || forbidden(name.as_str()).is_some();
    let names: Vec<HeaderName> = trailers.keys().filter(unwanted).cloned().collect();
    for name in names {
        trailers.remove(name);
    }
}

/// `known` is lower case, with dashes.
fn same(name: &[u8], known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

fn begins(name: &[u8], known: &str) -> bool {
    name.len() >= known.len()
        && name.iter().zip(known.bytes()).all(|(byte, known)| match byte {
            b'_' => known == b'-',
            byte => byte.to_ascii_lowercase() == known,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_known_in_every_spelling() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "X_Forwarded_For",
            "x-forwarded_proto",
            "x_forwarded-anything",
            "x-real-ip",
            "X_REAL_IP",
            "x-request-id",
            "x-consumer-groups",
            "x_authenticated_user",
            "client-cert",
            "client_cert_chain",
            "x-original-url",
            "x-rewrite-url",
            "sluice-version",
            "proxy",
            "content_length",
            "transfer_encoding",
        ] {
            assert!(is_reserved(name), "{name}");
        }
    }

    #[test]
    fn what_will_be_dropped_is_hidden() {
        for (name, from_anybody, from_trusted) in [
            ("x-forwarded-proto", true, false),
            ("x_forwarded_proto", true, true),
            ("x-role", false, false),
            ("x_role", false, false),
        ] {
            assert_eq!(is_hidden(name, false), from_anybody, "{name}");
            assert_eq!(is_hidden(name, true), from_trusted, "{name}");
        }
    }

    #[test]
    fn trailers_say_nothing_that_only_the_gateway_says() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-sum",
            "grpc-status",
            "x-forwarded-for",
            "x_forwarded_for",
            "forwarded",
            "via",
            "x-request-id",
            "sluice-version",
            "x-consumer-id",
            "host",
            "content-length",
            "content_length",
            "transfer-encoding",
            "connection",
            "trailer",
        ] {
            trailers.insert(HeaderName::from_static(name), http::HeaderValue::from_static("1"));
        }
        clean_trailers(&mut trailers);
        let left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum", "grpc-status"]);
    }

    #[test]
    fn other_names_are_free() {
        for name in [
            "",
            "x",
            "host",
            "content-length",
            "transfer-encoding",
            "content_type",
            "x-custom",
            "x_custom_header",
            "x-forward",
            "x-realip",
            "client-certificate",
            "proxy-x",
            "cookie",
            "traceparent",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn only_a_spelling_with_underscores_is_a_disguise() {
        assert!(is_disguised("x_forwarded_for"));
        assert!(is_disguised("content_length"));
        assert!(!is_disguised("x-forwarded-for"));
        assert!(!is_disguised("my_header"));
    }

    #[test]
    fn a_document_may_not_touch_framing_hops_host_and_ours() {
        assert_eq!(forbidden("Content-Length"), Some(Forbidden::Framing));
        assert_eq!(forbidden("transfer_encoding"), Some(Forbidden::Framing));
        assert_eq!(forbidden("Connection"), Some(Forbidden::HopByHop));
        assert_eq!(forbidden("TE"), Some(Forbidden::HopByHop));
        assert_eq!(forbidden("host"), Some(Forbidden::Host));
        assert_eq!(forbidden("X-Forwarded-For"), Some(Forbidden::Ours));
        assert_eq!(forbidden("Sluice-Node"), Some(Forbidden::Ours));
        for name in [
            "x-real-ip",
            "authorization",
            "x-forwarded-prefix",
            "content-type",
            "server",
            "x_a",
        ] {
            assert_eq!(forbidden(name), None, "{name}");
        }
    }
}
