//! The script of Redis does what the ledger does, on random histories.

use crate::redis::BREAKER;
use crate::redis::tests::server::Server;
use sluice_shared_state::breaker::{
    Ask, BreakerLedger, BreakerRule, Call, Caller, Counts, Failures, Hex, Numbers, Opinion, Phase, Reply, Report, Told,
};
use sluice_shared_state::{KeyId, StoreTime};
use std::collections::HashMap;
use std::time::Duration;

const S: u64 = 1_000_000;
const CHANNEL: &str = "sl:{x:0}:n";

fn rule(rng: &mut fastrand::Rng, version: u64) -> Numbers {
    Numbers::of(&BreakerRule {
        failure_rate: (rng.u8(0..4) > 0).then(|| rng.f32().max(0.1)),
        slow_rate: rng.bool().then(|| rng.f32().max(0.1)),
        slow_after: Some(Duration::from_secs(1)),
        consecutive: rng.bool().then(|| rng.u32(1..10)),
        failures: Failures::default(),
        window: Duration::from_millis(rng.u64(10..10_000)),
        min_requests: rng.u32(1..30),
        open_for: Duration::from_millis(rng.u64(1..5_000)),
        max_open_for: Duration::from_millis(rng.u64(5_000..50_000)),
        probes: rng.u32(1..4),
        observers: rng.u32(1..4),
        probe_timeout: Duration::from_millis(rng.u64(1..3_000)),
        version,
    })
}

/// What a node that follows what it is told might say, or one that does not.
fn ask(rng: &mut fastrand::Rng, key: &Hex, rule: Numbers, known: Option<&Told>, me: &Caller) -> Ask {
    let epoch = known.map_or(0, |told| told.epoch);
    let calls = rng.u32(0..12);
    let lease = match known {
        Some(told) if told.phase == Phase::HalfOpen && (told.holder == *me || rng.u8(0..8) == 0) => {
            let mut some = || rng.u32(0..told.probes + 1) * rng.u32(0..2);
            Report {
                epoch,
                left: some(),
                succeeded: some(),
                failed: some(),
                nothing: some(),
                returned: rng.u8(0..6) == 0,
            }
        }
        _ => Report::default(),
    };
    let strange = rng.u8(0..20);
    Ask {
        key: key.clone(),
        rule,
        epoch: match strange {
            0 => 0,
            1 => epoch + 1,
            2 => epoch.saturating_sub(1),
            3 => epoch.saturating_sub(1 << rng.u32(11..40)),
            _ => epoch,
        },
        phase: known.map_or(Phase::Closed, |told| told.phase),
        left: rng.u64(0..5 * S),
        trips: rng.u32(0..4),
        seq: rng.u64(0..40),
        counts: Counts {
            calls,
            failed: rng.u32(0..=calls),
            slow: rng.u32(0..=calls),
            run: rng.u32(0..=calls),
        },
        request_id: if rng.bool() { "ab".repeat(16) } else { String::new() },
        wish: rng.bool(),
        lease,
        opinion: match rng.u8(0..12) {
            0 => Opinion::Well,
            1 | 2 => Opinion::Failing,
            _ => Opinion::None,
        },
    }
}

#[test]
fn the_script_decides_as_the_ledger_does() {
    let server = Server::start();
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut listener = client.get_connection().unwrap();
    let mut news = listener.as_pubsub();
    news.subscribe(CHANNEL).unwrap();
    let script = ::redis::Script::new(BREAKER.text());
    let (mut decided, mut shapes) = (HashMap::<u8, u32>::new(), 0);
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ledger = BreakerLedger::default();
        let keys = [
            Hex::key(KeyId([seed as u8; 16])),
            Hex::key(KeyId([seed as u8 | 0x80; 16])),
        ];
        let mut rules = [rule(&mut rng, 1), rule(&mut rng, 1)];
        let callers: Vec<Caller> = (0..4)
            .map(|at| Caller {
                name: format!("n{}", at % 3),
                boot: rng.u32(..),
            })
            .collect();
        let mut known: HashMap<(Hex, usize), Told> = HashMap::new();
        let (mut now, mut run, mut era) = (1_700_000_000 * S, 1, 0);
        for version in 2..150 {
            now += rng.u64(0..S) * rng.u64(0..3);
            match rng.u8(0..60) {
                0 => run += 1,
                1 => rules[0] = rule(&mut rng, version),
                2 => now = now.saturating_sub(rng.u64(0..S)),
                _ => {}
            }
            let at = rng.usize(0..callers.len());
            let mut asks = Vec::new();
            for (key, rule) in keys.iter().zip(rules).take(rng.usize(0..=2)) {
                let known = known.get(&(key.clone(), at));
                asks.push(ask(&mut rng, key, rule, known, &callers[at]));
            }
            let call = Call {
                from: callers[at].clone(),
                live: rng.u32(1..5),
                era: if rng.u8(0..50) == 0 { era + 1 } else { era },
                chance: rng.u32(..),
                asks,
            };
            let (expected, published) = ledger.serve(StoreTime(now), &run.to_string(), &call);
            let mut invocation = script.prepare_invoke();
            invocation.key("sl:{x:0}:e").key(format!("sl:{{x:0}}:be{seed}"));
            for ask in &call.asks {
                invocation.key(format!("sl:{{x:0}}:b:{}", ask.key.as_str()));
            }
            invocation
                .arg(run.to_string())
                .arg(call.encode(CHANNEL, false))
                .arg(now);
            let bytes: Vec<u8> = invocation.invoke(&mut connection).unwrap();
            let reply = Reply::decode(&bytes).unwrap();
            assert_eq!(reply, expected, "seed {seed}, call {version}: {call:#?}");
            for told in published {
                *decided.entry(told.phase as u8).or_default() += 1;
                let heard: Vec<u8> = news.get_message().unwrap().get_payload().unwrap();
                assert_eq!(Told::decode(&heard).unwrap(), told);
            }
            era = reply.era;
            for answer in reply.answers {
                shapes += 1;
                known.insert((answer.told.key.clone(), at), answer.told);
            }
        }
    }
    assert!(shapes > 1_000 && decided.len() == 4, "all states were met: {decided:?}");
    let ttls: Vec<i64> = ["sl:{x:0}:be0".to_owned(), format!("sl:{{x:0}}:b:{}", "00".repeat(16))]
        .iter()
        .map(|key| ::redis::cmd("PTTL").arg(key).query(&mut connection).unwrap())
        .collect();
    assert!(ttls.iter().all(|ttl| *ttl > 0), "every key ends: {ttls:?}");
}
