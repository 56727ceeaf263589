//! What a command changes, as data: kept on disk as records, and carried out in memory.

use std::sync::Arc;

use super::{Answer, Entry, Head, Revision, State};

/// One change of the state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Head(Head),
    Part {
        key: Arc<str>,
        entry: Option<Entry>,
    },
    Revision(Arc<Revision>),
    /// The revisions up to this version, itself included, are dropped.
    Prune {
        upto: u64,
    },
    Original(Arc<str>),
    Record {
        collection: String,
        key: String,
        value: Option<Vec<u8>>,
    },
    Answer {
        age: u64,
        answer: Answer,
    },
    ForgetAnswer {
        age: u64,
    },
}

// === impl State ===

impl State {
    /// Carries an effect out. Copies a map only while somebody else looks at it.
    pub(crate) fn absorb(&mut self, effect: &Effect) {
        match effect {
            Effect::Head(head) => self.head = head.clone(),
            Effect::Part { key, entry } => {
                let parts = Arc::make_mut(&mut self.parts);
                match entry {
                    Some(entry) => parts.insert(Arc::clone(key), entry.clone()),
                    None => parts.remove(key),
                };
            }
            Effect::Revision(revision) => {
                self.history_bytes += revision.bytes();
                Arc::make_mut(&mut self.history).push_back(Arc::clone(revision));
            }
            Effect::Prune { upto } => {
                let history = Arc::make_mut(&mut self.history);
                while let Some(gone) = history.pop_front_if(|r| r.version <= *upto) {
                    self.history_bytes -= gone.bytes();
                }
            }
            Effect::Original(text) => self.original = Some(Arc::clone(text)),
            Effect::Record { collection, key, value } => {
                let records = Arc::make_mut(&mut self.records);
                match value {
                    Some(value) => {
                        let all = records.entry(collection.clone()).or_default();
                        all.insert(key.clone(), value.clone());
                    }
                    None => {
                        if let Some(all) = records.get_mut(collection) {
                            all.remove(key);
                            if all.is_empty() {
                                records.remove(collection);
                            }
                        }
                    }
                }
            }
            Effect::Answer { age, answer } => {
                let answers = Arc::make_mut(&mut self.answers);
                answers.by_key.insert(answer.key.clone(), *age);
                answers.by_age.insert(*age, answer.clone());
            }
            Effect::ForgetAnswer { age } => {
                let answers = Arc::make_mut(&mut self.answers);
                if let Some(gone) = answers.by_age.remove(age) {
                    answers.by_key.remove(&gone.key);
                }
            }
        }
    }

    /// Effects that make an empty state equal to this one.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Effect> + '_ {
        let parts = self.parts.iter().map(|(key, entry)| Effect::Part {
            key: Arc::clone(key),
            entry: Some(entry.clone()),
        });
        let revisions = self.history.iter().map(|r| Effect::Revision(Arc::clone(r)));
        let records = self.records.iter().flat_map(|(collection, all)| {
            all.iter().map(|(key, value)| Effect::Record {
                collection: collection.clone(),
                key: key.clone(),
                value: Some(value.clone()),
            })
        });
        let answers = self.answers.by_age.iter().map(|(age, answer)| Effect::Answer {
            age: *age,
            answer: answer.clone(),
        });
        let original = self.original.iter().map(|text| Effect::Original(Arc::clone(text)));
        std::iter::once(Effect::Head(self.head.clone()))
            .chain(parts)
            .chain(revisions)
            .chain(original)
            .chain(records)
            .chain(answers)
    }
}
