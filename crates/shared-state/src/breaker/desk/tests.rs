use super::*;
use crate::breaker::{Admission, BreakerLedger, Evidence, Failures, Kind, Verdict};
use crate::time::StoreTime;

const MS: u64 = 1_000_000;

fn rule() -> Arc<BreakerRule> {
    Arc::new(BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: None,
        slow_after: None,
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: 10,
        open_for: Duration::from_secs(5),
        max_open_for: Duration::from_secs(50),
        probes: 1,
        observers: 1,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    })
}

fn key(at: usize) -> BreakerKey {
    BreakerKey {
        upstream: format!("u{at}").into(),
        route: None,
    }
}

/// A desk of so many breakers that reaches its store, and their cells.
fn desk(breakers: usize) -> (Desk, Vec<Arc<BreakerCell>>) {
    let mut desk = Desk::new(Caller {
        name: "n0".to_owned(),
        boot: 1,
    });
    desk.set_reached(true);
    let cells = (0..breakers)
        .map(|at| desk.cell(Moment(0), &key(at), &rule(), Waker::noop()))
        .collect();
    (desk, cells)
}

/// Time goes by the calls: one a millisecond.
struct Talk {
    ledger: BreakerLedger,
    now: u64,
}

impl Talk {
    fn new() -> Self {
        Self {
            ledger: BreakerLedger::default(),
            now: 1,
        }
    }

    fn moment(&self) -> Moment {
        Moment(self.now * MS)
    }

    fn serve(&mut self, call: &Call) -> Reply {
        self.now += 1;
        self.ledger.serve(StoreTime(self.now * 1000), "a", call).0
    }

    /// One round, if the desk has one. How many breakers it was about, and what changed.
    fn round(&mut self, desk: &mut Desk) -> Option<(usize, Vec<Change>)> {
        let call = desk.poll(self.moment(), 0).call?;
        let reply = self.serve(&call);
        let step = desk.reply(self.moment(), &reply);
        Some((call.asks.len(), step.changes))
    }
}

fn fail(cell: &BreakerCell, talk: &Talk, times: usize) {
    for _ in 0..times {
        let admitted = talk.moment();
        if cell.admit(admitted) == Admission::Pass {
            let evidence = Evidence {
                verdict: Verdict::Failure,
                slow: false,
                admitted,
                probe: None,
                request_id: "",
            };
            cell.record(admitted, evidence);
        }
    }
}

#[test]
fn a_call_has_room_for_some_and_the_next_ones_for_the_rest() {
    let (mut desk, cells) = desk(BATCH * 3);
    let mut talk = Talk::new();
    // All are told what they are, then all have evidence.
    while talk.round(&mut desk).is_some_and(|(asked, _)| asked > 0) {}
    talk.now += 200;
    cells.iter().for_each(|cell| fail(cell, &talk, 20));
    let mut opened = 0;
    for _ in 0..3 {
        let (asked, changes) = talk.round(&mut desk).unwrap_or_default();
        assert_eq!(asked, BATCH);
        assert!(desk.next() <= talk.moment(), "the next one follows at once");
        opened += changes.iter().filter(|change| change.to == Kind::Open).count();
        // Those that were served are busy again: it is not their turn.
        cells.iter().for_each(|cell| fail(cell, &talk, 1));
    }
    assert_eq!(opened, BATCH * 3);
}

#[test]
fn who_has_nothing_to_say_asks_whether_anything_changed() {
    let (mut desk, _cells) = desk(1);
    let mut talk = Talk::new();
    while talk.round(&mut desk).is_some_and(|(asked, _)| asked > 0) {}
    talk.now += 200;
    assert_eq!(talk.round(&mut desk), Some((0, Vec::new())));
    assert!(desk.next() <= talk.moment() + TICK);
}

#[test]
fn what_another_node_changed_is_asked_for_when_the_store_says_so() {
    let ((mut mine, _cells), (mut other, cells)) = (desk(2), desk(2));
    other.from.name = "n1".to_owned();
    let mut talk = Talk::new();
    for _ in 0..3 {
        talk.round(&mut mine);
        talk.round(&mut other);
    }
    talk.now += 200;
    fail(&cells[0], &talk, 20);
    talk.round(&mut other);
    // No message comes. The next round says that something changed, and the one after it what.
    let rounds: Vec<_> = (0..2).filter_map(|_| talk.round(&mut mine)).collect();
    let changed: Vec<_> = rounds
        .iter()
        .flat_map(|(_, changes)| changes)
        .map(|change| change.to)
        .collect();
    assert_eq!(changed, [Kind::Open]);
}

#[test]
fn a_call_that_was_lost_is_made_again_with_the_same_number_and_counts_once() {
    let (mut desk, cells) = desk(1);
    let mut talk = Talk::new();
    while talk.round(&mut desk).is_some_and(|(asked, _)| asked > 0) {}
    talk.now += 200;
    fail(&cells[0], &talk, 5);
    let first = desk
        .poll(talk.moment(), 0)
        .call
        .unwrap_or_else(|| unreachable!("it has evidence"));
    talk.serve(&first);
    desk.lost(talk.moment());
    fail(&cells[0], &talk, 1);
    let again = desk
        .poll(talk.moment(), 0)
        .call
        .unwrap_or_else(|| unreachable!("it says it again"));
    assert_eq!(
        (again.asks[0].seq, again.asks[0].counts),
        (first.asks[0].seq, first.asks[0].counts)
    );
    let reply = talk.serve(&again);
    assert_eq!(reply.answers[0].all.calls, 5);
    desk.reply(talk.moment(), &reply);
    talk.now += 200;
    talk.round(&mut desk);
    assert_eq!(desk.seen()[0].all.calls, 6, "what came meanwhile is told after it");
}

#[test]
fn one_call_is_under_way_at_a_time() {
    let (mut desk, _cells) = desk(1);
    assert!(desk.poll(Moment(0), 0).call.is_some());
    assert!(desk.poll(Moment(500 * MS), 0).call.is_none());
    desk.lost(Moment(500 * MS));
    assert!(desk.poll(Moment(520 * MS), 0).call.is_some());
}

#[test]
fn a_breaker_is_forgotten_when_nobody_holds_its_cell() {
    let (mut desk, mut cells) = desk(2);
    cells.remove(0);
    assert_eq!(desk.forget_left(), [key(0)]);
    assert_eq!(desk.seen().len(), 1);
}
