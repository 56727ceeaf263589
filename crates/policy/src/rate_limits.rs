//! `rate_limits`: how often something may be asked for.

use crate::fault::{Fault, FaultKind};
use crate::limits::{Around, Key, Limit};
use sluice_document::declared::{self, LimitAlgorithm, LimitMode, Per, RateLimit};
use sluice_http_semantics::rate_limit::Quota;
use sluice_shared_state::{Algorithm, Calendar, Mode, Offsets, OnFailure, Rule, RuleId};
use std::sync::Arc;
use std::time::Duration;

/// From this length on a window is not worth a share: while the store is away for minutes, all are let through.
const LONG: Duration = Duration::from_secs(3_600);

/// Compiles what is declared. `now` is in seconds since the Unix epoch: by it the offset of a zone is known.
pub(crate) fn compile(
    declared: &[RateLimit],
    field: &str,
    around: &Around<'_>,
    now: i64,
    faults: &mut Vec<Fault>,
) -> Vec<Limit> {
    let all = declared.iter().enumerate();
    all.filter_map(|(i, limit)| one(limit, &format!("{field}[{i}]"), around, now, faults))
        .collect()
}

fn one(declared: &RateLimit, place: &str, around: &Around<'_>, now: i64, faults: &mut Vec<Fault>) -> Option<Limit> {
    let key = Key::compile(declared.key.as_deref(), place, around, faults);
    let (algorithm, quota) = match counted(declared, now) {
        Ok(counted) => counted,
        Err(why) => {
            faults.push(Fault::new(place, FaultKind::Limit(why.to_owned())));
            return None;
        }
    };
    let rule = Rule {
        name: declared.name.as_str().into(),
        scope: around.over.clone(),
        algorithm,
        mode: match declared.mode {
            None | Some(LimitMode::Exact) => Mode::Exact,
            Some(LimitMode::Fast) => Mode::Fast,
        },
        on_failure: match declared.on_failure {
            Some(declared::OnFailure::Local) => OnFailure::Local,
            Some(declared::OnFailure::Open) => OnFailure::Open,
            Some(declared::OnFailure::Closed) => OnFailure::Closed,
            None if declared.per.length() < LONG => OnFailure::Local,
            None => OnFailure::Open,
        },
        version: around.version,
        id: RuleId(0),
    }
    .seal();
    let cost = declared.cost.unwrap_or(1);
    if cost == 0 || u64::from(cost) > rule.most() {
        let why = format!("a cost of {cost} is not within 1 and {}", rule.most());
        faults.push(Fault::new(format!("{place}.cost"), FaultKind::Limit(why)));
    }
    Some(Limit {
        rule: Arc::new(rule),
        cost,
        patience: declared.delay.map_or(Duration::ZERO, |delay| delay.0),
        dry_run: declared.dry_run.unwrap_or(false),
        quota,
        key,
    })
}

/// How it counts, and what answers tell of it.
fn counted(declared: &RateLimit, now: i64) -> Result<(Algorithm, Quota), &'static str> {
    if declared.limit == 0 || declared.limit > RateLimit::GREATEST_COUNT {
        return Err("the limit is not within 1 and 2^53");
    }
    let window = declared.per.length();
    if !(RateLimit::SHORTEST..=RateLimit::LONGEST).contains(&window) {
        return Err("a window is from 10ms to 31d long");
    }
    let quota = Quota::requests(declared.limit, window);
    let small = || u32::try_from(declared.limit).map_err(|_| "the limit is too great for its algorithm");
    let algorithm = match (declared.algorithm(), declared.per) {
        (LimitAlgorithm::SlidingWindow, Per::Every(_)) => Algorithm::SlidingWindow {
            limit: small()?,
            window,
        },
        (LimitAlgorithm::TokenBucket, Per::Every(_)) => {
            let limit = small()?;
            let depth = declared.burst.unwrap_or(limit);
            if depth == 0 {
                return Err("a burst is at least 1");
            }
            let per = window;
            Algorithm::TokenBucket { limit, per, depth }
        }
        (LimitAlgorithm::FixedWindow, per) => Algorithm::FixedWindow {
            limit: declared.limit,
            calendar: calendar(per, declared.zone.as_ref(), now),
        },
        (_, Per::Minute | Per::Hour | Per::Day | Per::Month) => {
            return Err("a word of the calendar is for a fixed window");
        }
    };
    Ok((algorithm, quota))
}

fn calendar(per: Per, zone: Option<&declared::Zone>, now: i64) -> Calendar {
    let (present, then) = zone.map_or((0, None), |zone| zone.offsets(now));
    let offsets = Offsets { now: present, then };
    match per {
        Per::Every(length) => Calendar::Every(length.0),
        Per::Minute => Calendar::Minute,
        Per::Hour => Calendar::Hour(offsets),
        Per::Day => Calendar::Day(offsets),
        Per::Month => Calendar::Month(offsets),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sluice_document::declared::Duration as Written;
    use sluice_expression::Scope;
    use sluice_shared_state::Scope as Over;

    /// 2026-07-01.
    const NOW: i64 = 1_782_864_000;

    fn compiled(declared: RateLimit) -> Result<Limit, Vec<Fault>> {
        let around = Around {
            over: Over::Gateway("web".into()),
            scope: &Scope::default(),
            version: 7,
        };
        let mut faults = Vec::new();
        let limits = compile(&[declared], "rate_limits", &around, NOW, &mut faults);
        match faults.is_empty() {
            true => Ok(limits.into_iter().next().unwrap()),
            false => Err(faults),
        }
    }

    fn every(millis: u64) -> Per {
        Per::Every(Written(Duration::from_millis(millis)))
    }

    fn limit(limit: u64, per: Per) -> RateLimit {
        RateLimit {
            name: "orders".to_owned(),
            limit,
            per,
            ..RateLimit::default()
        }
    }

    #[test]
    fn what_is_left_out_follows_from_what_is_there() {
        let sliding = compiled(limit(600, every(60_000))).unwrap();
        let window = Duration::from_secs(60);
        assert_eq!(sliding.rule.algorithm, Algorithm::SlidingWindow { limit: 600, window });
        assert_eq!(
            (sliding.rule.mode, sliding.rule.on_failure),
            (Mode::Exact, OnFailure::Local)
        );
        assert_eq!(
            (sliding.cost, sliding.patience, sliding.dry_run),
            (1, Duration::ZERO, false)
        );
        assert_eq!((sliding.rule.version, &*sliding.rule.name), (7, "orders"));
        assert_eq!(sliding.key, Key::Client);
        assert_eq!(sliding.scope().to_string(), "gateways/web");

        let bucket = compiled(RateLimit {
            burst: Some(3),
            ..limit(600, every(60_000))
        })
        .unwrap();
        let expected = Algorithm::TokenBucket {
            limit: 600,
            per: window,
            depth: 3,
        };
        assert_eq!(bucket.rule.algorithm, expected);
        let whole = compiled(RateLimit {
            algorithm: Some(LimitAlgorithm::TokenBucket),
            ..limit(5, every(1_000))
        })
        .unwrap();
        assert_eq!(whole.rule.most(), 5, "a bucket without a burst holds the limit");

        for (per, on_failure) in [
            (Per::Minute, OnFailure::Local),
            (Per::Hour, OnFailure::Open),
            (every(3_599_999), OnFailure::Local),
            (every(3_600_000), OnFailure::Open),
        ] {
            assert_eq!(compiled(limit(5, per)).unwrap().rule.on_failure, on_failure, "{per}");
        }
    }

    #[test]
    fn a_calendar_goes_by_its_zone() {
        let day = |zone: Option<&str>| {
            let zone = zone.map(|zone| zone.parse().unwrap());
            let compiled = compiled(RateLimit {
                zone,
                ..limit(10, Per::Day)
            });
            match &compiled.unwrap().rule.algorithm {
                Algorithm::FixedWindow {
                    limit: 10,
                    calendar: Calendar::Day(offsets),
                } => *offsets,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(day(None), Offsets::default());
        assert_eq!(
            day(Some("-03:30")),
            Offsets {
                now: -12_600,
                then: None
            }
        );
        let then = Some((1_792_890_000, 3_600));
        assert_eq!(day(Some("Europe/Berlin")), Offsets { now: 7_200, then });
    }

    #[test]
    fn what_answers_tell_is_whole_seconds_and_no_more_than_is_given() {
        let quota = |count, per| compiled(limit(count, per)).unwrap().quota;
        let told = |quota, seconds| Quota::Requests { quota, seconds };
        assert_eq!(quota(5, every(100)), told(50, 1));
        assert_eq!(quota(5, every(1_500)), told(5, 2));
        assert_eq!(quota(5, Per::Month), told(5, 31 * 86_400));
    }

    #[test]
    fn numbers_that_nothing_could_count_are_faults_here_too() {
        let per = every(1_000);
        for bad in [
            limit(0, per),
            limit(1 << 54, Per::Day),
            limit(1 << 40, per),
            limit(1, every(9)),
            RateLimit {
                cost: Some(2),
                ..limit(1, per)
            },
            RateLimit {
                cost: Some(0),
                ..limit(1, per)
            },
            RateLimit {
                burst: Some(0),
                ..limit(1, per)
            },
            RateLimit {
                burst: Some(1),
                ..limit(1, Per::Day)
            },
            RateLimit {
                key: Some("client.port".to_owned()),
                ..limit(1, per)
            },
        ] {
            let faults = compiled(bad.clone()).expect_err(&format!("{bad:?}"));
            assert!(faults[0].field.starts_with("rate_limits[0]"), "{faults:?}");
        }
    }
}
