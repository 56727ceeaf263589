//! One breaker on one node: what it tells the store of it, and what it makes of what it hears.
//!
//! The store's word is followed in the order of its decisions, whichever way and in whichever order it comes.

mod alone;
mod lease;
mod shown;

pub use shown::{Change, Seen};

use alone::Local;
use lease::Lease;

use super::broken::{Broken, broken};
use super::cell::BreakerCell;
use super::evidence::{Window, part};
use super::ledger::DECISIONS;
use super::rule::{BreakerKey, BreakerRule};
use super::state::{Cause, Counts, Kind};
use super::wire::{Answer, Ask, Caller, Hex, Numbers, Opinion, Phase, Report, Told, micros};
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
    /// The request of the last failure among it.
    request_id: Option<String>,
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

#[derive(Debug, Clone)]
struct Pending {
    seq: u64,
    counts: Counts,
    request_id: Option<String>,
}

/// What holds for all breakers of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) from: &'v Caller,
    pub(super) chance: u32,
}

/// What a reply asks for beside a change.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) change: Option<Change>,
    pub(super) check: bool,
}

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
            request_id: None,
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
            self.request_id = harvest.request_id.or(self.request_id.take());
        } else if harvest.request_id.is_some() {
            self.request_id = harvest.request_id;
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
                ask.request_id = self.request_id.clone().unwrap_or_default();
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
                request_id: self.request_id.take(),
            });
        }
        if let Some(pending) = &self.pending {
            ask.seq = pending.seq;
            ask.counts = pending.counts;
            ask.request_id = pending.request_id.clone().unwrap_or_default();
        }
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
        self.request_id = None;
        self.pending = None;
        self.wish = false;
    }

    /// What holds by evidence: this node's own word while it is by itself.
    fn current(&self) -> &Known {
        self.local.as_ref().map_or(&self.shared, |local| &local.known)
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
        request_id: String::new(),
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
