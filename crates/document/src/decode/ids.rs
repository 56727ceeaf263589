//! Ids of routes that give none: made of methods and path, `get-orders-id`, with `-2` where that is taken.

use super::names::LONGEST;
use crate::declared::Route;
use std::collections::HashSet;

/// Fills the ids that are empty, in the order of the list; ids that are given are never taken.
pub(crate) fn derive_ids(routes: &mut [Route]) {
    let mut taken: HashSet<String> = routes
        .iter()
        .map(|route| route.id.clone())
        .filter(|id| !id.is_empty())
        .collect();
    // Where many routes give one base, the search for a free number goes on where the last one ended.
    let mut next: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for route in routes.iter_mut().filter(|route| route.id.is_empty()) {
        let base = derived(&route.methods, route.paths.first().map_or("", String::as_str));
        let mut id = base.clone();
        while !taken.insert(id.clone()) {
            let number = next.entry(base.clone()).or_insert(1);
            *number += 1;
            id = format!("{base}-{number}");
        }
        route.id = id;
    }
}

fn derived(methods: &[String], path: &str) -> String {
    let path = path.strip_prefix("regex:").unwrap_or(path);
    let path = match path {
        "/" => "root".to_owned(),
        "/**" => "all".to_owned(),
        _ => match path.strip_suffix("/**") {
            Some(front) => format!("{front}-all"),
            None => path.to_owned(),
        },
    };
    let mut id = String::new();
    for part in methods.iter().map(String::as_str).chain([path.as_str()]) {
        for c in part.chars() {
            match c.to_ascii_lowercase() {
                c if c.is_ascii_lowercase() || c.is_ascii_digit() => id.push(c),
                _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
                _ => {}
            }
        }
        if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    // Room for a number behind it.
    id.truncate(LONGEST - 8);
    let id = id.trim_end_matches('-');
    if id.is_empty() {
        "route".to_owned()
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_methods_and_path() {
        let get = ["GET".to_owned()];
        assert_eq!(derived(&get, "/orders/{id}"), "get-orders-id");
        assert_eq!(derived(&[], "/orders/**"), "orders-all");
        assert_eq!(derived(&[], "/"), "root");
        assert_eq!(derived(&get, "/**"), "get-all");
        assert_eq!(derived(&[], "regex:^/v[0-9]+/"), "v-0-9");
        assert_eq!(derived(&[], "regex:^.*$"), "route");
        assert_eq!(derived(&["GET".into(), "POST".into()], "/Ä/b"), "get-post-b");
    }
}
