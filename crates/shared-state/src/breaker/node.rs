//! One breaker on one node: what it tells the store of it, and what it makes of what it hears.
//!
//! The store's word is followed in the order of its decisions, whichever way and in whichever order it comes. While the
//! store is away the node asks a ledger of its own, with the same numbers, which is forgotten when the store is back.

use super::broken::{Broken, broken};
use super::cell::{BreakerCell, Gate, Suspicion};
use super::evidence::{Window, part};
use super::ledger::{BEGIN, Breaker, DECISIONS};
use super::probes::{MOST, Standing};
use super::rule::{BreakerKey, BreakerRule};
use super::state::{Cause, Counts, Kind, Trace};
use super::wire::{Answer, Ask, Call, Caller, Hex, Numbers, Opinion, Phase, Report, Told, micros};
use crate::time::Moment;
use std::sync::Arc;
use std::time::Duration;

/// One breaker on one node.
#[derive(Debug)]
pub(super) struct BreakerNode {
    key: BreakerKey,
    id: Hex,
    cell: Arc<BreakerCell>,
    shared: Known,
    local: Option<Box<Local>>,
    forced: Option<bool>,
    /// What the cell does, and since when.
    kind: Kind,
    since: Moment,
    /// Attempts that began before this belong to an earlier decision.
    counted_from: Moment,
    /// The length of the windows below.
    window: Duration,
    /// What this node has counted in the present epoch.
    own: Window,
    /// What all have, as last told.
    all: Counts,
    /// Counted while the store was away, and told to this node's own ledger alone.
    untold: Window,
    /// Counted, and not told yet.
    carried: Counts,
    trace: Option<Trace>,
    /// Told, and not known to be heard.
    pending: Option<Pending>,
    seq: u64,
    lease: Lease,
    wish: bool,
    opinion: Opinion,
    opinion_told: bool,
    /// There is something to hear.
    must_ask: bool,
    ask_at: Option<Moment>,
    /// When it was last asked of; whether that its own counts passed a threshold was a reason already.
    asked: Option<Moment>,
    tip_told: bool,
}

/// The last word heard.
#[derive(Debug, Clone, Default)]
struct Known {
    epoch: u64,
    revision: u32,
    phase: Phase,
    until: Moment,
    trips: u32,
    by: Vec<String>,
    suspect: bool,
    cause: Option<Arc<Cause>>,
}

/// A node by itself.
#[derive(Debug)]
struct Local {
    breaker: Breaker,
    known: Known,
    seq: u64,
}

#[derive(Debug, Clone)]
struct Pending {
    seq: u64,
    counts: Counts,
    trace: Option<Trace>,
}

/// The lease of probes that this node holds.
#[derive(Debug, Default)]
struct Lease {
    /// By which decision; 0: none.
    epoch: u64,
    /// This node's count of its leases.
    number: u32,
    probes: u8,
    begin_by: Moment,
    /// What was last said of it, and when.
    told: Option<(Standing, Moment)>,
    returned: bool,
    /// The last decision of the store that gave this node a lease: it gives none again, though the node gave it up.
    last: u64,
}

/// What holds for all breakers of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) from: &'v Caller,
    pub(super) chance: u32,
}

/// A breaker on this node as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Whose it is.
    pub key: BreakerKey,
    /// What it does.
    pub kind: Kind,
    /// Since when.
    pub since: Moment,
    /// The number of the decision.
    pub epoch: u64,
    /// Whether the cluster decides.
    pub shared: bool,
    /// Why it opened last.
    pub cause: Option<Arc<Cause>>,
    /// Of an open one: when it may be probed.
    pub next_probe: Option<Moment>,
    /// The nodes that suspect, or the one that probes.
    pub by: Vec<String>,
    /// What this node counted within the window.
    pub own: Counts,
    /// What all did.
    pub all: Counts,
    /// Attempts that this node refused.
    pub refused: u64,
}

/// A breaker does something else from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Whose.
    pub key: BreakerKey,
    /// What it did.
    pub from: Kind,
    /// What it does.
    pub to: Kind,
    /// The number of the decision.
    pub epoch: u64,
    /// Whether the cluster decided.
    pub shared: bool,
    /// Of one that opened: why.
    pub cause: Option<Arc<Cause>>,
}

/// What a reply asks for beside a change.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) change: Option<Change>,
    pub(super) check: bool,
}

/// How often an unused lease is renewed.
const RENEW: Duration = Duration::from_millis(250);
/// Clocks err by less than one in so many.
const RATE: u32 = 1000;
/// How often evidence is told.
const FLUSH: Duration = Duration::from_millis(90);
/// How long after something should have ended it is asked whether it has.
const LATE: Duration = Duration::from_millis(50);
/// How often one that is suspected is asked for.
const SUSPECT_ASK: Duration = Duration::from_millis(500);

// === impl BreakerNode ===

impl BreakerNode {
    pub(super) fn new(key: BreakerKey, cell: Arc<BreakerCell>, now: Moment) -> Self {
        Self {
            id: Hex::key(key.id()),
            key,
            window: cell.rule().window,
            cell,
            shared: Known::default(),
            local: None,
            forced: None,
            kind: Kind::Closed,
            since: now,
            counted_from: Moment(0),
            own: Window::default(),
            untold: Window::default(),
            all: Counts::default(),
            carried: Counts::default(),
            trace: None,
            pending: None,
            seq: 0,
            lease: Lease::default(),
            wish: false,
            opinion: Opinion::None,
            opinion_told: false,
            must_ask: true,
            ask_at: None,
            asked: None,
            tip_told: false,
        }
    }

    pub(super) fn id(&self) -> &Hex {
        &self.id
    }

    pub(super) fn cell(&self) -> &Arc<BreakerCell> {
        &self.cell
    }

    /// Somebody's word, or no more.
    pub(super) fn force(&mut self, now: Moment, open: Option<bool>) -> Option<Change> {
        if self.forced == open {
            return None;
        }
        self.forced = open;
        // What was counted under somebody's word, and before it, is not what the next decision is made of.
        self.begin_anew(now);
        self.must_ask = true;
        self.publish(now)
    }

    /// There may be something to hear.
    pub(super) fn must_ask(&mut self) {
        self.must_ask = true;
    }

    /// Whether it should be asked of at once.
    pub(super) fn wants_to_ask(&self) -> bool {
        self.must_ask
    }

    /// What a check has found.
    pub(super) fn opine(&mut self, opinion: Opinion) {
        self.opinion = opinion;
        self.opinion_told = false;
    }

    /// Whether nobody but this node's table holds the cell, and nothing happens with it.
    pub(super) fn is_left(&self) -> bool {
        Arc::strong_count(&self.cell) == 1
    }

    /// Collects what workers counted.
    pub(super) fn collect(&mut self, now: Moment, live: u32) {
        let rule = self.cell.rule();
        if rule.window != self.window {
            // Parts of another length: what was counted in them says nothing any more.
            self.window = rule.window;
            self.own.clear();
            self.untold.clear();
        }
        let part = part_of(now, &rule);
        self.own.forget(part);
        self.untold.forget(part);
        let harvest = self.cell.harvest();
        self.wish |= self.cell.take_wanted();
        if matches!(self.current().phase, Phase::Closed | Phase::Suspect) && self.forced.is_none() {
            let mut counts = harvest.counts;
            if counts.calls == 0 {
                // A run that merely lasts is no news.
                counts.run = 0;
            }
            self.own.add(part, counts);
            self.carried = self.carried.and(counts);
            self.trace = harvest.trace.or(self.trace.take());
        } else if harvest.trace.is_some() {
            self.trace = harvest.trace;
        }
        let own = self.own.sum();
        let floor = rule.floor(if self.local.is_some() { 1 } else { live });
        self.cell.tell_window(own);
        self.cell.set_floor(floor);
        if rule.passed(&own, floor).is_none() {
            self.cell.rearm();
            self.tip_told = false;
        }
    }

    /// What to say to the store now, if anything.
    pub(super) fn ask(&mut self, now: Moment) -> Option<Ask> {
        let tipped = self.cell.has_tipped() && !self.tip_told;
        let flush = tipped || self.asked.is_none_or(|asked| now.since(asked) >= FLUSH);
        let mut ask = Ask {
            epoch: self.shared.epoch,
            phase: self.shared.phase,
            left: micros(self.shared.until.since(now)),
            trips: self.shared.trips,
            wish: self.wish,
            opinion: self.opinion,
            ..empty(self.id.clone(), Numbers::of(&self.cell.rule()))
        };
        // Evidence belongs to an epoch, and the one that this node knows may be over where it came back just now.
        if self.shared.epoch != 0 && self.local.is_none() && self.forced.is_none() {
            self.tell_evidence(&mut ask);
        }
        let report = match (&self.local, self.forced) {
            (None, None) => self.report(now),
            _ => None,
        };
        if let Some(report) = report {
            ask.lease = report;
            if report.failed > 0 {
                ask.trace = Hex::trace(self.trace);
            }
        }
        let must = self.must_ask || self.local.is_some() || self.ask_at.is_some_and(|at| at <= now);
        let said = ask.wish || ask.opinion != Opinion::None || report.is_some() || (ask.seq != 0 && flush);
        if !must && !said {
            return None;
        }
        self.must_ask = false;
        self.ask_at = None;
        self.asked = Some(now);
        self.tip_told |= tipped;
        self.wish = false;
        self.opinion_told = true;
        Some(ask)
    }

    fn tell_evidence(&mut self, ask: &mut Ask) {
        if self.pending.is_none() && !self.carried.is_empty() {
            self.seq += 1;
            self.pending = Some(Pending {
                seq: self.seq,
                counts: std::mem::take(&mut self.carried),
                trace: self.trace.take(),
            });
        }
        if let Some(pending) = &self.pending {
            ask.seq = pending.seq;
            ask.counts = pending.counts;
            ask.trace = Hex::trace(pending.trace);
        }
    }

    /// What there is to say of a lease: something new, or that it is not used and wanted on.
    fn report(&mut self, now: Moment) -> Option<Report> {
        if self.lease.epoch == 0 || self.lease.epoch != self.current().epoch {
            return None;
        }
        let standing = self.cell.probes().standing();
        let known = self
            .lease
            .told
            .is_some_and(|(told, at)| told == standing && now.since(at) < RENEW);
        if known && !self.lease.returned && !self.wish {
            return None;
        }
        self.lease.told = Some((standing, now));
        Some(Report {
            epoch: self.lease.epoch,
            left: standing.left.into(),
            succeeded: standing.succeeded.into(),
            failed: standing.failed.into(),
            nothing: standing.nothing.into(),
            returned: self.lease.returned,
        })
    }

    /// The store's answer to what was sent then.
    pub(super) fn reply(&mut self, now: Moment, sent: Moment, answer: &Answer, view: &View<'_>) -> Heard {
        let local = if broken(Broken::LocalWins) {
            None
        } else {
            self.local.take()
        };
        if local.is_some() {
            self.end_lease();
        }
        if self.pending.as_ref().is_some_and(|pending| answer.heard >= pending.seq) {
            self.pending = None;
        }
        if self.opinion_told {
            self.opinion = Opinion::None;
        }
        self.all = answer.all;
        self.follow(now, &answer.told, view);
        if let Some(local) = local {
            self.bring_back(now, &local);
        }
        self.use_lease(sent, answer, view);
        self.ask_at = match self.shared.phase {
            Phase::Suspect => Some(now + SUSPECT_ASK),
            Phase::HalfOpen => Some(now + Duration::from_micros(answer.told.left) + LATE),
            Phase::Open | Phase::Closed => None,
        };
        Heard {
            change: self.publish(now),
            check: answer.check,
        }
    }

    /// No answer came: all of it is said again. What the store did of it is heard with the next answer.
    pub(super) fn lost(&mut self) {
        self.must_ask = true;
        self.lease.told = None;
    }

    /// The store has published this.
    pub(super) fn news(&mut self, now: Moment, told: &Told, view: &View<'_>) -> Option<Change> {
        if self.follow(now, told, view) {
            // Others' evidence is wanted at once; and a lease begins with an answer, never with news.
            self.must_ask |= told.phase == Phase::Suspect
                || (told.phase == Phase::HalfOpen && told.holder == *view.from && self.lease.epoch != told.epoch);
        }
        if self.local.is_some() {
            return None;
        }
        self.publish(now)
    }

    /// Takes the store's word, if it is newer than what is known. Whether it was.
    fn follow(&mut self, now: Moment, told: &Told, view: &View<'_>) -> bool {
        let newer = (told.epoch, told.revision) > (self.shared.epoch, self.shared.revision);
        if !newer && !broken(Broken::AnyOrder) {
            return false;
        }
        let before = std::mem::replace(&mut self.shared, Known::of(now, told, view.from));
        if self.local.is_some() {
            // Its own ledger goes on as it is, until an answer comes.
            self.pending = None;
        } else if before.epoch != told.epoch {
            self.end_lease();
            if before.epoch >> DECISIONS != told.epoch >> DECISIONS && before.phase.passes() && told.phase.passes() {
                // Nothing was decided. The store knows nothing of what it was told before, and is told again.
                self.pending = None;
                self.carried = self.own.sum();
            } else {
                self.begin_anew(now);
            }
        }
        if matches!(told.phase, Phase::HalfOpen | Phase::Suspect) {
            // Time alone ends it, which the store tells when it is asked.
            self.ask_at = Some(self.shared.until + LATE);
        }
        true
    }

    /// Nothing that was counted counts any more.
    fn begin_anew(&mut self, now: Moment) {
        self.counted_from = now;
        self.cell.forget();
        self.own.clear();
        self.carried = Counts::default();
        self.trace = None;
        self.pending = None;
        self.wish = false;
    }

    /// What this node saw while it was by itself becomes evidence of the present epoch.
    fn bring_back(&mut self, now: Moment, local: &Local) {
        let mut untold = std::mem::take(&mut self.untold).sum().and(self.carried);
        if !self.shared.phase.passes() {
            self.begin_anew(now);
            return;
        }
        let mut trace = self.trace;
        if !local.known.phase.passes() {
            self.begin_anew(now);
            if let (Some(cause), true) = (&local.known.cause, untold.is_empty()) {
                untold = cause.counts.iter().fold(untold, |sum, (_, counts)| sum.and(*counts));
            }
            trace = local.known.cause.as_ref().and_then(|cause| cause.trace).or(trace);
        }
        self.carried = untold;
        self.trace = trace;
    }

    fn end_lease(&mut self) {
        self.cell.probes().close();
        self.lease.epoch = 0;
        self.lease.returned = false;
    }

    /// Begins the lease that an answer gives, renews it, or gives it up.
    fn use_lease(&mut self, sent: Moment, answer: &Answer, view: &View<'_>) {
        let told = &answer.told;
        let current = self.current();
        if told.phase != Phase::HalfOpen || told.holder != *view.from || told.epoch != current.epoch {
            return;
        }
        if self.lease.epoch != told.epoch || broken(Broken::BegunAgain) {
            let shared = self.local.is_none();
            if shared && told.epoch <= self.lease.last && !broken(Broken::BegunAgain) {
                return;
            }
            self.lease = Lease {
                epoch: told.epoch,
                number: self.lease.number.wrapping_add(1),
                probes: u8::try_from(told.probes).unwrap_or(MOST).min(MOST),
                last: if shared { told.epoch } else { self.lease.last },
                ..Lease::default()
            };
            self.cell.probes().begin(self.lease.number, self.lease.probes);
            self.lease.told = Some((self.cell.probes().standing(), sent));
        }
        if answer.missed && self.cell.probes().close_idle(self.lease.probes) {
            self.lease.returned = true;
            self.must_ask = true;
        }
        // A probe that begins by then is over when the lease is, by the store's clock and by this node's.
        let timeout = micros(self.cell.rule().probe_timeout);
        let begin = Duration::from_micros(told.left.saturating_sub(timeout).min(BEGIN));
        self.lease.begin_by = match broken(Broken::HeldForEver) {
            false => sent + begin - begin / RATE,
            true => Moment(u64::MAX >> 3),
        };
    }

    /// A round without the store: the node's own ledger is asked.
    pub(super) fn alone(&mut self, now: Moment, view: &View<'_>) -> Option<Change> {
        let numbers = Numbers::of(&self.cell.rule()).alone();
        let call = Call {
            from: view.from.clone(),
            live: 1,
            era: 1,
            chance: view.chance,
            asks: Vec::new(),
        };
        let time = now.0 / 1000;
        if self.local.is_none() {
            self.end_lease();
            let mut breaker = Breaker::default();
            let declare = Ask {
                epoch: 1,
                phase: self.shared.phase,
                left: micros(self.shared.until.since(now)),
                trips: self.shared.trips,
                ..empty(self.id.clone(), numbers)
            };
            let answer = breaker.serve(time, 1, &call, &declare);
            let mut known = Known::of(now, &answer.told, view.from);
            known.cause.clone_from(&self.shared.cause);
            self.local = Some(Box::new(Local { breaker, known, seq: 0 }));
            // Its own ledger knows nothing yet of what was told to the other.
            self.untold.add(part_of(now, &self.cell.rule()), self.carried);
            self.carried = self.own.sum();
        } else {
            self.untold.add(part_of(now, &self.cell.rule()), self.carried);
        }
        if self.forced.is_some() {
            return self.publish(now);
        }
        let report = self.report(now).unwrap_or_default();
        let mut local = self.local.take()?;
        local.seq += 1;
        let ask = Ask {
            epoch: local.known.epoch,
            seq: local.seq,
            counts: std::mem::take(&mut self.carried),
            trace: Hex::trace(self.trace),
            wish: std::mem::take(&mut self.wish),
            lease: report,
            ..empty(self.id.clone(), numbers)
        };
        let answer = local.breaker.serve(time, 1, &call, &ask);
        self.all = answer.all;
        let decided = answer.told.epoch != local.known.epoch;
        if decided || answer.told.revision != local.known.revision {
            local.known = Known::of(now, &answer.told, view.from);
        }
        self.local = Some(local);
        if decided {
            let pending = self.pending.take();
            self.begin_anew(now);
            self.pending = pending;
            self.end_lease();
        }
        self.use_lease(now, &answer, view);
        self.publish(now)
    }

    /// What holds by evidence: this node's own word while it is by itself.
    fn current(&self) -> &Known {
        self.local.as_ref().map_or(&self.shared, |local| &local.known)
    }

    /// Tells the workers. What changed by it.
    fn publish(&mut self, now: Moment) -> Option<Change> {
        let known = self.current();
        let never = Moment(u64::MAX);
        let (gate, suspicion, counted_from) = match (self.forced, known.phase) {
            (Some(true), _) => (Gate::Forced, Suspicion::None, never),
            (Some(false), _) => (Gate::Pass, Suspicion::None, never),
            (None, Phase::Closed) => (Gate::Pass, Suspicion::None, self.counted_from),
            (None, Phase::Suspect) if known.suspect => (Gate::Pass, Suspicion::Mine, self.counted_from),
            (None, Phase::Suspect) => (Gate::Pass, Suspicion::Others, self.counted_from),
            (None, Phase::Open) => (Gate::Open(known.until), Suspicion::None, never),
            (None, Phase::HalfOpen) if self.lease.epoch == known.epoch => {
                (Gate::Mine(self.lease.begin_by), Suspicion::None, never)
            }
            (None, Phase::HalfOpen) => (Gate::Others(known.until), Suspicion::None, never),
        };
        self.cell.explain(known.cause.clone());
        self.cell.publish(gate, suspicion, counted_from);
        let kind = match self.forced {
            Some(true) => Kind::ForcedOpen,
            Some(false) => Kind::ForcedClosed,
            None => known.phase.kind(),
        };
        if kind == self.kind {
            return None;
        }
        let from = std::mem::replace(&mut self.kind, kind);
        self.since = now;
        Some(Change {
            key: self.key.clone(),
            from,
            to: kind,
            epoch: self.shared.epoch,
            shared: self.local.is_none(),
            cause: self.current().cause.clone().filter(|_| kind == Kind::Open),
        })
    }

    #[cfg(test)]
    pub(super) fn glance(&self) -> (Kind, u64, bool) {
        (self.kind, self.shared.epoch, self.local.is_none())
    }

    /// As people see it.
    pub(super) fn seen(&self) -> Seen {
        let known = self.current();
        Seen {
            key: self.key.clone(),
            kind: self.kind,
            since: self.since,
            epoch: self.shared.epoch,
            shared: self.local.is_none(),
            cause: known.cause.clone(),
            next_probe: (known.phase == Phase::Open).then_some(known.until),
            by: known.by.clone(),
            own: self.own.sum(),
            all: self.all,
            refused: self.cell.refused(),
        }
    }
}

/// The part of the window that a moment is in.
fn part_of(now: Moment, rule: &BreakerRule) -> u64 {
    part(now.0, u64::try_from(rule.window.as_nanos()).unwrap_or(u64::MAX))
}

/// An ask that says nothing.
fn empty(key: Hex, rule: Numbers) -> Ask {
    Ask {
        key,
        rule,
        epoch: 0,
        phase: Phase::Closed,
        left: 0,
        trips: 0,
        seq: 0,
        counts: Counts::default(),
        trace: Hex::default(),
        wish: false,
        lease: Report::default(),
        opinion: Opinion::None,
    }
}

// === impl Known ===

impl Known {
    fn of(now: Moment, told: &Told, me: &Caller) -> Self {
        let by = match told.phase {
            Phase::Suspect => told.seen_by.clone(),
            Phase::HalfOpen => vec![told.holder.name.clone()],
            Phase::Open | Phase::Closed => Vec::new(),
        };
        Self {
            epoch: told.epoch,
            revision: told.revision,
            phase: told.phase,
            until: now + Duration::from_micros(told.left),
            trips: told.trips,
            suspect: told.phase == Phase::Suspect && told.seen_by.contains(&me.name),
            by,
            cause: told.cause.to_cause(),
        }
    }
}

// === impl Phase ===

impl Phase {
    /// Whether attempts pass, and count.
    fn passes(self) -> bool {
        matches!(self, Self::Closed | Self::Suspect)
    }
}

/// The rule of a node is that of its cell.
pub(super) fn newer(cell: &BreakerCell, rule: &Arc<BreakerRule>) {
    if cell.rule().version < rule.version {
        cell.set_rule(Arc::clone(rule));
    }
}
