//! What a key costs a node in memory.

use sluice_shared_state::ledger::{From, Header, Ledger};
use sluice_shared_state::limit::{KeyNode, View, Waiters};
use sluice_shared_state::{Algorithm, Calendar, KeyId, Mode, Moment, OnFailure, Rule, RuleId, Scope, StoreTime};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator; what is counted is a plain number of this thread, whose access neither
// allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.with(|held| held.set(held.get() + layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get() - layout.size() as isize));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Of one request each: what a scan of random keys leaves.
#[test]
fn a_cold_key_costs_a_node_less_than_a_kibibyte() {
    const KEYS: u32 = 500;
    let minute = Duration::from_secs(60);
    let algorithms = [
        (
            "sliding window",
            Algorithm::SlidingWindow {
                limit: 60,
                window: minute,
            },
        ),
        (
            "token bucket",
            Algorithm::TokenBucket {
                limit: 60,
                per: minute,
                depth: 20,
            },
        ),
        (
            "fixed window",
            Algorithm::FixedWindow {
                limit: 60,
                calendar: Calendar::Every(minute),
            },
        ),
    ];
    for (what, algorithm) in algorithms {
        let rule = Rule {
            name: "each".into(),
            scope: Scope::Gateway("g".into()),
            algorithm,
            mode: Mode::Exact,
            on_failure: OnFailure::Local,
            version: 1,
            id: RuleId(0),
        };
        let rule = Arc::new(rule.seal());
        let live: Vec<Arc<str>> = vec!["n1".into(), "n2".into(), "n3".into()];
        let mut store = Ledger::default();
        let now = Moment(5_000_000_000);
        let view = View {
            from: From { node: 1, boot: 1 },
            epoch: store.epoch(),
            reached: true,
            away: now,
            name: "n1",
            live: &live,
            round_trip: Duration::from_millis(1),
            chance: 0,
        };
        let header = Header {
            from: view.from,
            epoch: view.epoch,
            local: false,
            live: 3,
            without: 0,
        };
        let mut nodes = Vec::with_capacity(KEYS as usize);
        let mut held = 0;
        for n in 0..KEYS {
            let before = HELD.get();
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_le_bytes());
            let mut node = KeyNode::new(KeyId(id), Arc::clone(&rule), now);
            let _ = node.cell().take(now, 1);
            let waiters = Waiters {
                requests: 1,
                cost: 1,
                unit: 1,
                since: now,
            };
            let request = node.poll(now, waiters, &view).call.expect("a new key asks");
            held += HELD.get() - before;
            let served = store.serve(StoreTime(1_000_000_000), &header, &[request]);
            let reply = served.replies.into_iter().next().expect("a reply");
            let before = HELD.get();
            let tokens = node.reply(now, reply, &view);
            let _ = node.poll(now, Waiters::default(), &view);
            held += HELD.get() - before;
            assert_eq!(tokens, 1, "{what}");
            nodes.push(node);
        }
        let each = held / KEYS as isize + size_of::<KeyNode>() as isize;
        eprintln!("{what}: {each} bytes a key");
        assert!(each < 1024, "{what}: {each}");
    }
}
