//! How long a lease should suffice, and who may have how much of what is free.

use super::load::Load;
use super::{Count, Measures, Node, float, seconds, signed};
use crate::ledger::sliding::{Call, Numbers};

/// Calls for each admitted request that are aimed at.
const CALLS_EXACT: f64 = 0.0055;
const CALLS_FAST: f64 = 0.0040;
/// The part of what nobody needs that nodes hold beyond their own need: what they go on with should the store go away.
const STANDBY: f64 = 0.3;
/// Of so few tokens none is kept back: a small limit would be held by those who do not need it.
const LITTLE: f64 = 2.0;
/// So many tokens within a horizon are worth a lease. Of fewer, what would be held here is missed elsewhere: a call for
/// each request uses a small limit whole.
pub const WORTH_A_LEASE: f64 = 5.0;
/// So many, where margins are small beside what is spare: a lease saves calls then, and costs nobody anything.
const WORTH_KEEPING: f64 = 2.0;
/// The part of what is spare that margins against chance may take.
const MARGIN: f64 = 1.0 / 3.0;
/// The part of the limit that nobody's margin may touch.
const SPARE: f64 = 0.05;

/// How long a lease should suffice, and whose share is how great.
pub(super) struct Shares {
    pub(super) nodes: u64,
    /// Seconds, and in microseconds.
    pub(super) horizon: (f64, u64),
    /// Tokens a second that come back.
    rate: f64,
    /// No node needs more: the sum of all demands cut to it is `rate`.
    level: f64,
    /// The sum of all demands, cut to `level`.
    cut: f64,
    /// The caller's part of it.
    part: f64,
}

/// What a node may get until each slot from the present one to the horizon.
pub(super) struct Curve {
    pub(super) cumulative: Vec<i64>,
    /// Fairness held it back.
    pub(super) fair: bool,
    /// What is free beyond everybody's demand: the caller's part of it.
    pub(super) spare: f64,
    /// Its demand is worth a lease.
    pub(super) lean: bool,
}

// === impl Count ===

impl Count {
    /// For how long a lease should be now, and which part of all the caller may have: nobody gets more than he asks for
    /// before all have what they ask for, up to a level.
    pub(super) fn shares(&self, me: usize, limit: u64, measures: &Measures, numbers: &Numbers) -> Shares {
        let rate = float(limit) / seconds(numbers.window);
        let calls = if numbers.fast { CALLS_FAST } else { CALLS_EXACT };
        let mut demands: Vec<f64> = self.nodes.iter().map(|node| node.demand).filter(|d| *d > 0.0).collect();
        let nodes = demands.len().max(1) as u64;
        let total = demands.iter().fold(0.0, |sum, demand| sum + demand);
        let horizon = float(nodes) / (calls * total.min(rate).max(1e-9)) * 1e6;
        let (least, most) = measures.horizon;
        // Cut to a number that fits before it becomes one.
        let micros = horizon.max(float(least)).min(float(most)).floor() as u64;
        let horizon = (seconds(micros), micros);

        demands.sort_by(f64::total_cmp);
        let (mut level, mut left, mut others) = (rate, rate, demands.len());
        for &demand in &demands {
            if demand * others as f64 >= left {
                level = left / others as f64;
                break;
            }
            left -= demand;
            others -= 1;
        }
        let cut = demands.iter().fold(0.0, |sum, demand| sum + demand.min(level));
        let part = if cut > 0.0 {
            self.nodes[me].demand.min(level) / cut
        } else {
            1.0
        };
        Shares {
            nodes,
            horizon,
            rate,
            level,
            cut,
            part,
        }
    }

    /// What the caller may get, beside what it holds: for each slot to the horizon what it needs until then and a margin, as
    /// far as it is free and others do not need it.
    pub(super) fn curve(
        &self,
        me: usize,
        call: &Call,
        shares: &Shares,
        load: &Load,
        measures: &Measures,
        limit: u64,
    ) -> Curve {
        let demand = self.nodes[me].demand;
        let (horizon, _) = shares.horizon;
        let slots = shares.horizon.1 / measures.slot;
        let held: f64 = float(self.nodes[me].out());
        let out: u64 = self.nodes.iter().map(Node::out).sum();
        let wanted = self.nodes.iter().fold(0.0, |sum, node| {
            let expected = node.demand * horizon;
            sum + (1.2 * expected + 3.0 * expected.sqrt() - float(node.out()))
        });
        let plenty = load.free[0] as f64 >= wanted;
        let expected = self
            .nodes
            .iter()
            .fold(0.0, |sum, node| sum + node.demand.min(shares.rate));
        let at_end = load.free[slots as usize] as f64;
        let spare = shares.part * (at_end + float(out) - horizon * expected - SPARE * float(limit));
        let worth = if MARGIN * spare >= WORTH_A_LEASE {
            WORTH_KEEPING
        } else {
            WORTH_A_LEASE
        };
        let lean = demand * horizon >= worth;
        let (mut cumulative, mut sum, mut fair) = (Vec::new(), 0i64, false);
        if lean {
            cumulative.reserve(slots as usize + 1);
            for (slot, &free) in load.free.iter().enumerate().take(slots as usize + 1) {
                let there = (free as f64 + float(out)).max(0.0);
                let mut others = 0.0;
                for (_, node) in self.nodes.iter().enumerate().filter(|(index, _)| *index != me) {
                    let due = node.demand.min(shares.level) / shares.cut * there;
                    let needs: f64 = (node.demand * horizon).min(due) - float(node.out());
                    others += needs.max(0.0);
                }
                let most = (shares.part * there - held).max(free as f64 - others);
                let span = if plenty {
                    horizon
                } else {
                    (slot + 2) as f64 * seconds(measures.slot)
                };
                let uses = demand * span;
                let standby = if plenty { STANDBY * spare - LITTLE } else { 0.0 };
                let margin = (2.5 * uses.sqrt() + 0.05 * uses + 1.0)
                    .min(MARGIN * spare.max(0.0))
                    .max(standby);
                let for_those_that_wait = if spare > 0.0 { 4.0 * float(call.waiting) } else { 0.0 };
                let want = uses + margin + for_those_that_wait + 1.0 - held;
                if slot == 0 && most < want - 1.0 {
                    fair = true;
                }
                let mut tokens = (free as f64).min(most).min(want).floor() as i64;
                let unit = signed(call.unit.max(1));
                if slot == 0 && held == 0.0 && tokens < unit && free >= unit {
                    tokens = unit;
                }
                sum = sum.max(tokens);
                cumulative.push(sum);
            }
        }
        Curve {
            cumulative,
            fair,
            spare,
            lean,
        }
    }
}
