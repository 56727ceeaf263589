//! `gateways.NAME`.

use super::{Decoder, Step, check_name, fields, limits, route};
use crate::declared::{Expose, Gateway};
use crate::tree::Node;

/// A gateway with its routes in the order they are written, ids as given. The second is the indexes of broken routes.
pub(crate) fn gateway<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<(Gateway, Vec<usize>)> {
    let f = d.fields(node, fields::GATEWAY, "a gateway: a map with `hosts` and `routes`")?;
    let mut broken = Vec::new();
    let gateway = Gateway {
        hosts: d.required(&f, "hosts", route::hosts).unwrap_or_default(),
        listen: d.optional(&f, "listen", listen).unwrap_or_default(),
        expose: d
            .optional(&f, "expose", |d, node| {
                d.list(node, "a list of version, node", |d, node| {
                    d.word(node, &[("version", Expose::Version), ("node", Expose::Node)], &[])
                        .map(Some)
                })
            })
            .map(|expose| expose.into_iter().flatten().collect::<Vec<_>>())
            .map(|mut expose| {
                expose.sort();
                expose.dedup();
                expose
            })
            .unwrap_or_default(),
        trusted_proxies: d
            .optional(&f, "trusted_proxies", |d, node| {
                d.list(node, "a list of addresses", Decoder::address)
            })
            .unwrap_or_default(),
        rate_limits: d.optional(&f, "rate_limits", limits::rate_limits).unwrap_or_default(),
        concurrency: d.optional(&f, "concurrency", limits::concurrency).unwrap_or_default(),
        routes: d
            .optional(&f, "routes", |d, node| routes(d, node, &mut broken))
            .unwrap_or_default(),
    };
    Some((gateway, broken))
}

fn routes<'t>(d: &mut Decoder<'t>, node: &'t Node, broken: &mut Vec<usize>) -> Option<Vec<crate::declared::Route>> {
    let crate::tree::Kind::List(items) = &node.kind else {
        d.wrong(node, "a list of routes");
        return None;
    };
    let mut routes = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let before = d.errors();
        let read = d.within(Step::Index(i), |d| route::route(d, item));
        // A broken route keeps its place, so that indexes in the tree and in the gateway are the same.
        routes.push(read.unwrap_or_else(route::broken));
        if d.errors() > before {
            broken.push(i);
        }
    }
    Some(routes)
}

fn listen<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Vec<String>> {
    d.set(node, "a list of the node's listeners", 16, |d, node| {
        let name = d.text(node, "a name of a listener, like public")?;
        check_name(d, name, node.at).then(|| name.to_owned())
    })
}
