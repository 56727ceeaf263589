//! The `Date` of answers that no library writes it into.

use http::HeaderValue;
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

/// The present second as a field's value, written once for all answers of that second.
#[derive(Debug, Default)]
pub(crate) struct Date(RefCell<Option<(Duration, HeaderValue)>>);

// === impl Date ===

impl Date {
    pub(crate) fn now(&self) -> HeaderValue {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = Duration::from_secs(since.as_secs());
        let mut kept = self.0.borrow_mut();
        if let Some((at, value)) = &*kept
            && *at == second
        {
            return value.clone();
        }
        let text = httpdate::fmt_http_date(now);
        let value = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        *kept = Some((second, value.clone()));
        value
    }
}
