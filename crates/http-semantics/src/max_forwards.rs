//! How far a TRACE or OPTIONS may still go (RFC 9110 §7.6.2).

use http::header::MAX_FORWARDS;
use http::{HeaderMap, HeaderValue, Method};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onward {
    /// It may be forwarded.
    Goes,
    /// Whoever has it now answers it: it is the last.
    Ends,
}

/// Counts down `Max-Forwards` of a TRACE or OPTIONS; a value that is no number, or stands there twice, is none, and goes
/// on as it is. Of other methods the field means nothing.
pub fn count_down(method: &Method, headers: &mut HeaderMap) -> Onward {
    if *method != Method::OPTIONS && *method != Method::TRACE {
        return Onward::Goes;
    }
    let mut values = headers.get_all(MAX_FORWARDS).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Onward::Goes;
    };
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Onward::Goes;
    }
    // More than anything that is counted here: as far as it likes.
    let left = value.to_str().ok().and_then(|digits| digits.parse::<u64>().ok());
    match left.unwrap_or(u64::MAX) {
        0 => Onward::Ends,
        left => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            Onward::Goes
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn counted(method: Method, values: &[&str]) -> (Onward, Vec<String>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MAX_FORWARDS, value.parse().unwrap());
        }
        let onward = count_down(&method, &mut headers);
        let left = headers.get_all(MAX_FORWARDS).iter();
        (onward, left.map(|value| value.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn each_hop_takes_one_and_the_last_answers() {
        for (before, after) in [
            ("1", "0"),
            ("007", "6"),
            ("99999999999999999999999", "18446744073709551614"),
        ] {
            assert_eq!(
                counted(Method::OPTIONS, &[before]),
                (Onward::Goes, vec![after.to_owned()])
            );
        }
        for method in [Method::OPTIONS, Method::TRACE] {
            assert_eq!(counted(method, &["0"]).0, Onward::Ends);
        }
    }

    #[test]
    fn what_is_no_number_or_of_another_method_goes_on_as_it_is() {
        for values in [&["-1"][..], &["1.5"], &[""], &["many"], &["0", "0"], &[]] {
            let (onward, left) = counted(Method::OPTIONS, values);
            assert_eq!((onward, left.len()), (Onward::Goes, values.len()));
        }
        assert_eq!(counted(Method::GET, &["0"]), (Onward::Goes, vec!["0".to_owned()]));
    }
}
