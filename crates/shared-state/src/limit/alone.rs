//! What a node may do of a limit when each goes on by itself.

use super::node::View;
use crate::key::KeyId;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// This node's share of a limit at one key: the whole divided by the live nodes. What is left over goes to those whose
/// names, hashed with the key, come first: the shares sum to the limit, also where it is smaller than the number of
/// nodes, and which node has more is another one for each key.
///
/// Looks at each live node once.
#[must_use]
pub fn share(limit: u64, key: KeyId, view: &View<'_>) -> u64 {
    let nodes = u64::try_from(view.live.len()).unwrap_or(u64::MAX).max(1);
    let (each, over) = (limit / nodes, limit % nodes);
    if over == 0 {
        return each;
    }
    let mine = (rank(key, view.name), view.name);
    let before = view
        .live
        .iter()
        .filter(|name| (rank(key, name), &***name) < mine)
        .count();
    each + u64::from(u64::try_from(before).unwrap_or(u64::MAX) < over)
}

fn rank(key: KeyId, name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_key(&key.0);
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::From;
    use crate::time::Moment;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    proptest! {
        #[test]
        fn shares_sum_to_the_limit(limit in 0u64..1000, nodes in 1usize..12, key in any::<[u8; 16]>()) {
            let live: Vec<Arc<str>> = (0..nodes).map(|node| format!("n{node}").into()).collect();
            let all: u64 = live
                .iter()
                .map(|name| {
                    share(limit, KeyId(key), &View {
                        from: From { node: 1, boot: 1 },
                        epoch: 1,
                        reached: false,
                        away: Moment(0),
                        name,
                        live: &live,
                        round_trip: Duration::ZERO,
                        chance: 0,
                    })
                })
                .sum();
            prop_assert_eq!(all, limit);
        }
    }
}
