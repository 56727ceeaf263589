//! What a command does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ANSWERS, Answer, Delta, Effect, Entry, Head, Revision, State, Trial};
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
        let mut next = self.head.clone();
        let mut effects = Vec::new();
        let (applied, changed) = match &envelope.body {
            Body::Store {
                changes,
                activate,
                original,
            } => self.store(envelope, changes, activate.as_ref(), original, &mut next, &mut effects),
            Body::Activate { version, .. } if *version > head || *version < self.oldest() => {
                return (Applied::NoSuchVersion { head }, Vec::new());
            }
            Body::Activate { version, activation } => {
                activate_in(&mut next, *version, activation);
                let applied = if next == self.head {
                    Applied::Same(head)
                } else {
                    Applied::Version(*version)
                };
                (applied, Vec::new())
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
            activate_in(next, next.version, activation);
        }
        if let Some(text) = original
            && self.original.as_ref() != Some(text)
        {
            effects.push(Effect::Original(Arc::clone(text)));
        }
        if same {
            return (Applied::Same(next.version), Vec::new());
        }
        let changed = deltas.iter().map(|d| Arc::clone(&d.key)).collect();
        effects.extend(deltas.iter().map(|delta| Effect::Part {
            key: Arc::clone(&delta.key),
            entry: delta.after.as_ref().map(|value| Entry {
                value: Arc::clone(value),
                version: next.version,
            }),
        }));
        effects.push(Effect::Revision(Arc::new(Revision {
            version: next.version,
            at_ms: envelope.at_ms,
            author: envelope.author.clone(),
            request_id: envelope.request_id.clone(),
            original: original.is_some(),
            deltas,
        })));
        (Applied::Version(next.version), changed)
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
        effects.extend(upto.map(|upto| Effect::Prune { upto }));
    }
}

fn activate_in(head: &mut Head, version: u64, activation: &Activation) {
    let for_good = activation.on.is_none() && activation.confirm_by_ms.is_none();
    if for_good {
        head.active = version;
        head.trial = None;
    } else {
        head.trial = Some(Trial {
            version,
            on: activation.on.clone(),
            confirm_by_ms: activation.confirm_by_ms,
        });
    }
}
