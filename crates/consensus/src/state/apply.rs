//! What a command does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ANSWERS, Answer, Delta, Effect, Entry, Head, Revision, State, TrialAct};
use crate::command::{Activation, Applied, Body, Envelope, PartChange};

// === impl State ===

impl State {
    /// Applies the command at `index` of the log; gives its answer and what it changed, which
    /// this state has then absorbed.
    pub(crate) fn apply(&mut self, index: u64, envelope: &Envelope) -> (Applied, Vec<Effect>) {
        let (applied, mut effects) = self.decide(envelope);
        if let Some(Effect::Head(head)) = effects.last_mut() {
            head.applied = index;
        } else {
            effects.push(self.at(index));
        }
        for effect in &effects {
            self.absorb(effect);
        }
        (applied, effects)
    }

    /// Takes note of an entry that carries no command.
    pub(crate) fn skip(&mut self, index: u64) -> Effect {
        let effect = self.at(index);
        self.absorb(&effect);
        effect
    }

    fn at(&self, index: u64) -> Effect {
        Effect::Head(Head {
            applied: index,
            ..self.head.clone()
        })
    }

    /// A changed head, if there is one, is the last effect.
    fn decide(&self, envelope: &Envelope) -> (Applied, Vec<Effect>) {
        if let Some(repeated) = self.repeated(envelope) {
            return (repeated, Vec::new());
        }
        let versioned = matches!(envelope.body, Body::Store { .. } | Body::Activate { .. });
        if !matches!(envelope.body, Body::Level(_)) && envelope.level > self.head.level {
            return (
                Applied::LevelTooLow {
                    cluster: self.head.level,
                },
                Vec::new(),
            );
        }
        let head = self.head.version;
        if versioned && envelope.base != head {
            return (Applied::WrongBase { head }, Vec::new());
        }
        if let (Body::Store { .. }, Some(open)) = (&envelope.body, &self.head.trial) {
            return (Applied::TrialOpen { version: open.version }, Vec::new());
        }
        let mut next = self.head.clone();
        let mut effects = Vec::new();
        let (applied, changed) = match &envelope.body {
            Body::Store {
                changes,
                activate,
                original,
            } => self.store(envelope, changes, activate.as_ref(), original, &mut next, &mut effects),
            Body::Activate { version, activation } => {
                match self.activate(envelope, *version, activation, &mut next, &mut effects) {
                    Ok(done) => done,
                    Err(refused) => return (refused, Vec::new()),
                }
            }
            Body::Record { collection, key, value } => {
                effects.push(Effect::Record {
                    collection: collection.clone(),
                    key: key.clone(),
                    value: value.clone(),
                });
                (Applied::Record, Vec::new())
            }
            Body::Level(level) => {
                next.level = next.level.max(*level);
                (Applied::Record, Vec::new())
            }
        };
        self.remember(envelope, next.version, changed, &mut effects);
        self.prune(&next, &mut effects);
        effects.push(Effect::Head(next));
        (applied, effects)
    }

    /// The answer to a request that was answered before.
    fn repeated(&self, envelope: &Envelope) -> Option<Applied> {
        let asked = envelope.idempotency.as_ref()?;
        let answer = &self.answers.by_age[self.answers.by_key.get(&asked.key)?];
        Some(if answer.digest == asked.digest {
            Applied::Repeated {
                version: answer.version,
                changed: answer.changed.clone(),
            }
        } else {
            Applied::KeyReuse
        })
    }

    fn store(
        &self,
        envelope: &Envelope,
        changes: &[PartChange],
        activate: Option<&Activation>,
        original: &Option<Arc<str>>,
        next: &mut Head,
        effects: &mut Vec<Effect>,
    ) -> (Applied, Vec<Arc<str>>) {
        let deltas = self.deltas(changes);
        let same = deltas.is_empty();
        if !same {
            next.version += 1;
            next.at_ms = envelope.at_ms;
        }
        if let Some(activation) = activate {
            if activation.for_good() {
                next.active = next.version;
            } else if !same {
                // What is the same as before is live already: there is nothing to try.
                next.begin(next.version, activation);
                effects.extend(Self::trial_begins(next.version, activation));
            }
        }
        if let Some(text) = original
            && self.original.as_ref() != Some(text)
        {
            effects.push(Effect::Original(Arc::clone(text)));
        }
        if same {
            return (Applied::Same(next.version), Vec::new());
        }
        let changed = revise(envelope, next.version, deltas, original.is_some(), effects);
        (Applied::Version(next.version), changed)
    }

    /// Makes a stored version live, takes limits away from one on trial, or undoes that.
    fn activate(
        &self,
        envelope: &Envelope,
        version: u64,
        activation: &Activation,
        next: &mut Head,
        effects: &mut Vec<Effect>,
    ) -> Result<(Applied, Vec<Arc<str>>), Applied> {
        let head = self.head.version;
        if version > head || version < self.oldest() {
            return Err(Applied::NoSuchVersion { head });
        }
        match &self.head.trial {
            Some(open) if version == open.version => {
                let Some(acts) = activation.lifts(open) else {
                    return Err(Applied::TrialOpen { version });
                };
                if acts.is_empty() {
                    return Ok((Applied::Same(head), Vec::new()));
                }
                if activation.for_good() {
                    (next.active, next.trial) = (version, None);
                } else {
                    next.begin(version, activation);
                }
                effects.extend(self.trial_goes_on(version, envelope, &acts, head));
                Ok((Applied::Version(version), Vec::new()))
            }
            Some(open) if version == self.head.active && activation.for_good() => {
                // What is live before a trial stays in reach.
                let back = self
                    .delta(open.version, version)
                    .ok_or(Applied::NoSuchVersion { head })?;
                (next.version, next.at_ms) = (head + 1, envelope.at_ms);
                (next.active, next.trial) = (next.version, None);
                let changed = revise(envelope, next.version, self.deltas(&back), false, effects);
                effects.extend(self.trial_goes_on(open.version, envelope, &[TrialAct::Undone], next.version));
                Ok((Applied::Version(next.version), changed))
            }
            Some(open) => Err(Applied::TrialOpen { version: open.version }),
            None if version < head => Err(Applied::NotNewest { head }),
            None if version == self.head.active => Ok((Applied::Same(head), Vec::new())),
            None if activation.for_good() => {
                next.active = version;
                Ok((Applied::Version(version), Vec::new()))
            }
            None => {
                next.begin(version, activation);
                effects.extend(Self::trial_begins(version, activation));
                Ok((Applied::Version(version), Vec::new()))
            }
        }
    }

    /// What the changes come to, in the order of their keys; what changes nothing is left out.
    fn deltas(&self, changes: &[PartChange]) -> Vec<Delta> {
        let last: BTreeMap<&Arc<str>, &Option<Arc<str>>> = changes.iter().map(|c| (&c.key, &c.value)).collect();
        let deltas = last.into_iter().map(|(key, after)| Delta {
            key: Arc::clone(key),
            before: self.parts.get(key).map(|entry| Arc::clone(&entry.value)),
            after: after.clone(),
        });
        deltas.filter(|d| d.before != d.after).collect()
    }

    /// Keeps the answer for the case that the request comes again.
    fn remember(&self, envelope: &Envelope, version: u64, changed: Vec<Arc<str>>, effects: &mut Vec<Effect>) {
        let Some(asked) = &envelope.idempotency else { return };
        let newest = self.answers.by_age.last_key_value().map_or(0, |(age, _)| *age);
        if self.answers.by_age.len() >= ANSWERS
            && let Some((age, _)) = self.answers.by_age.first_key_value()
        {
            effects.push(Effect::ForgetAnswer { age: *age });
        }
        effects.push(Effect::Answer {
            age: newest + 1,
            answer: Answer {
                key: asked.key.clone(),
                digest: asked.digest,
                version,
                changed,
            },
        });
    }

    /// Drops what is beyond the limits, but nothing that a node may have to go back to, and never
    /// the newest: the last change can always be undone.
    fn prune(&self, next: &Head, effects: &mut Vec<Effect>) {
        let fresh = effects.iter().find_map(|e| match e {
            Effect::Revision(revision) => Some(revision),
            _ => None,
        });
        let mut count = (self.history.len() + usize::from(fresh.is_some())) as u64;
        let mut bytes = self.history_bytes + fresh.map_or(0, |r| r.bytes());
        let trial = next.trial.as_ref().map_or(u64::MAX, |t| t.version);
        let floor = next.active.min(trial);
        let mut upto = None;
        for revision in self.history.iter().chain(fresh) {
            let over = count > self.limits.versions || bytes > self.limits.bytes;
            if !over || revision.version > floor || count == 1 {
                break;
            }
            (count, bytes) = (count - 1, bytes - revision.bytes());
            upto = Some(revision.version);
        }
        if let Some(upto) = upto {
            effects.push(Effect::Prune { upto });
            effects.extend(self.trials_leave(upto));
        }
    }
}

/// The effects of a version that makes these changes; gives the parts.
fn revise(
    envelope: &Envelope,
    version: u64,
    deltas: Vec<Delta>,
    original: bool,
    effects: &mut Vec<Effect>,
) -> Vec<Arc<str>> {
    let changed = deltas.iter().map(|d| Arc::clone(&d.key)).collect();
    effects.extend(deltas.iter().map(|delta| Effect::Part {
        key: Arc::clone(&delta.key),
        entry: delta.after.as_ref().map(|value| Entry {
            value: Arc::clone(value),
            version,
        }),
    }));
    effects.push(Effect::Revision(Arc::new(Revision {
        version,
        at_ms: envelope.at_ms,
        author: envelope.author.clone(),
        request_id: envelope.request_id.clone(),
        original,
        deltas,
    })));
    changed
}
