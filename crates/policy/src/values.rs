//! Values, each in the form that the place where it goes needs: nothing in a value can end the place or begin another.

use sluice_expression::{Field, Inputs};
use sluice_http_semantics::percent::{self, Place};
use std::borrow::Cow;

/// For people and programs that read plain text: parameters decoded, where they are text.
pub(crate) struct Plain<'a, I>(pub(crate) &'a I);

/// For HTML: as [`Plain`], with `&`, `<`, `>` and quotes written as references.
pub(crate) struct Html<'a, I>(pub(crate) &'a I);

/// For a path: parameters and the path as they stand in the normalised one, all else as one segment.
pub(crate) struct InPath<'a, I>(pub(crate) &'a I);

/// For a query: the whole query as it came, all else as a value among its pairs.
pub(crate) struct InQuery<'a, I>(pub(crate) &'a I);

/// For the authority of a URL: the host as it is, all else without any delimiter.
pub(crate) struct InAuthority<'a, I>(pub(crate) &'a I);

/// Values that need no form: what is wrong with a text that is rendered with them is wrong with the text.
pub(crate) struct Harmless;

impl Inputs for Harmless {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match field {
            Field::RequestPath => "/x",
            Field::RequestScheme => "http",
            _ => "x",
        }))
    }
}

impl<I: Inputs> Inputs for Plain<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let value = self.0.field(field)?;
        if !matches!(field, Field::Param(_)) || !value.contains('%') {
            return Some(value);
        }
        let decoded = percent::decode_text(&value).map(Cow::into_owned);
        Some(decoded.map_or(value, Cow::Owned))
    }
}

impl<I: Inputs> Inputs for Html<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let plain = Plain(self.0);
        let value = plain.field(field)?;
        let mut out = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                c => out.push(c),
            }
        }
        Some(Cow::Owned(out))
    }
}

impl<I: Inputs> Inputs for InPath<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let value = self.0.field(field)?;
        match field {
            Field::Param(_) | Field::RequestPath => Some(value),
            _ => Some(encoded(value.as_bytes(), Place::Segment)),
        }
    }
}

impl<I: Inputs> Inputs for InQuery<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let value = self.0.field(field)?;
        match field {
            Field::RequestQueryString => Some(visible(value)),
            Field::Param(_) => Some(encoded(&percent::decode(&value), Place::QueryValue)),
            _ => Some(encoded(value.as_bytes(), Place::QueryValue)),
        }
    }
}

impl<I: Inputs> Inputs for InAuthority<'_, I> {
    fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
        let value = self.0.field(field)?;
        match field {
            Field::RequestHost => Some(visible(value)),
            Field::Param(_) => Some(encoded(&percent::decode(&value), Place::QueryValue)),
            _ => Some(encoded(value.as_bytes(), Place::QueryValue)),
        }
    }
}

fn encoded(bytes: &[u8], place: Place) -> Cow<'static, str> {
    let mut out = String::new();
    percent::encode_bytes(bytes, place, &mut out);
    Cow::Owned(out)
}

/// Keeps visible ASCII as it is, `#` excepted, which would begin a fragment.
fn visible(value: Cow<'_, str>) -> Cow<'_, str> {
    let fits = |byte: &u8| matches!(byte, 0x21..=0x7E) && *byte != b'#';
    if value.bytes().all(|byte| fits(&byte)) {
        return value;
    }
    let mut out = String::with_capacity(value.len() + 8);
    for byte in value.bytes() {
        if fits(&byte) {
            out.push(char::from(byte));
        } else {
            percent::encode_bytes(&[byte], Place::QueryValue, &mut out);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use std::collections::HashMap;

    /// A request, by what is written between the braces.
    #[derive(Debug, Default)]
    pub(crate) struct Request(HashMap<String, String>);

    impl Request {
        pub(crate) fn new<const N: usize>(values: [(&str, &str); N]) -> Self {
            Self(values.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        }
    }

    impl Inputs for Request {
        fn field(&self, field: &Field) -> Option<Cow<'_, str>> {
            self.0
                .get(&field.to_string())
                .map(|value| Cow::Borrowed(value.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Request;
    use super::*;

    #[test]
    fn a_value_takes_the_form_of_its_place() {
        let request = Request::new([
            ("params.x", "a%2Fb+c%20d%26"),
            ("params.y", "%FF"),
            ("request.path", "/a%20b"),
            ("request.query", "q=%2e&é#"),
            ("request.query['q']", "a/b&c\r\n"),
            ("request.host", "[::1]"),
            ("client.ip", "::1"),
        ]);
        let field = |text: &str| {
            let scope = sluice_expression::Scope::with_params(["x", "y"]);
            let template = sluice_expression::Template::parse(&format!("${{{text}}}"), &scope);
            template.ok().and_then(|template| template.as_field().cloned())
        };
        for (name, plain, path, query, authority) in [
            (
                "params.x",
                "a/b+c d&",
                "a%2Fb+c%20d%26",
                "a%2Fb%2Bc%20d%26",
                "a%2Fb%2Bc%20d%26",
            ),
            ("params.y", "%FF", "%FF", "%FF", "%FF"),
            ("request.path", "/a%20b", "/a%20b", "%2Fa%2520b", "%2Fa%2520b"),
            (
                "request.query",
                "q=%2e&é#",
                "q=%252e&%C3%A9%23",
                "q=%2e&%C3%A9%23",
                "q%3D%252e%26%C3%A9%23",
            ),
            (
                "request.query['q']",
                "a/b&c\r\n",
                "a%2Fb&c%0D%0A",
                "a%2Fb%26c%0D%0A",
                "a%2Fb%26c%0D%0A",
            ),
            ("request.host", "[::1]", "%5B::1%5D", "%5B%3A%3A1%5D", "[::1]"),
        ] {
            let Some(field) = field(name) else { panic!("{name}") };
            assert_eq!(Plain(&request).field(&field).as_deref(), Some(plain), "{name}");
            assert_eq!(InPath(&request).field(&field).as_deref(), Some(path), "{name}");
            assert_eq!(InQuery(&request).field(&field).as_deref(), Some(query), "{name}");
            assert_eq!(
                InAuthority(&request).field(&field).as_deref(),
                Some(authority),
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_in_a_value_is_html() {
        let request = Request::new([("params.x", "%3Cb%3E&\"'%26")]);
        let value = Html(&request).field(&Field::Param("x".into())).map(Cow::into_owned);
        assert_eq!(value.as_deref(), Some("&lt;b&gt;&amp;&quot;&#39;&amp;"));
        assert_eq!(Html(&request).field(&Field::ClientIp), None);
    }
}
