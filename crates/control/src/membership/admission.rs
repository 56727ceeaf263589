//! Whether a node that stands before the door is let in, and in whose place. Pure.

use sluice_peer::NodeId;

/// A member, as far as admission looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its incarnation.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its peer address on record.
    pub peer: String,
    /// Whether it votes.
    pub voter: bool,
}

/// Who stands before the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its incarnation.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where it says that it is reached.
    pub peer: String,
}

/// Who answers at the address on record of the member whose name the candidate bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtRecord {
    /// The candidate.
    Candidate,
    /// The member itself, or somebody else.
    Another,
    /// Nobody.
    Nobody,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a member already.
    In,
    /// A new name: it becomes a learner, and stays one until it is promoted.
    Enter,
    /// A new incarnation of a known name: a learner that takes the old one's place once it has
    /// caught up.
    Replace {
        /// The old one.
        old: NodeId,
    },
    /// Not let in.
    Refuse(String),
}

/// Decides. `authorised` is the incarnation of that name that an operator has given up with
/// `members replace`.
#[must_use]
pub(crate) fn decide(members: &[Known], candidate: &Candidate, at_record: AtRecord, authorised: bool) -> Verdict {
    if members.iter().any(|member| member.id == candidate.id) {
        // Perhaps with another address than before.
        let other = |member: &&Known| member.name != candidate.name && member.peer == candidate.peer;
        return match members.iter().find(other) {
            Some(other) => Verdict::Refuse(taken(candidate, other)),
            None => Verdict::In,
        };
    }
    // A replacement under way bears the same name; the newest incarnation is the one to replace.
    let Some(old) = members.iter().rfind(|member| member.name == candidate.name) else {
        return match members.iter().find(|member| member.peer == candidate.peer) {
            Some(other) => Verdict::Refuse(taken(candidate, other)),
            None => Verdict::Enter,
        };
    };
    match (at_record, authorised) {
        (AtRecord::Candidate, _) => Verdict::Replace { old: old.id },
        (AtRecord::Nobody, true) => Verdict::Replace { old: old.id },
        (AtRecord::Another, _) => Verdict::Refuse(format!(
            "a live node named {} is a member at {}; this one is at {}: give it another name",
            old.name, old.peer, candidate.peer
        )),
        (AtRecord::Nobody, false) => Verdict::Refuse(format!(
            "{} is a member with another identity at {}, where nobody answers; if that is gone for good, say `sluice members replace {}`",
            old.name, old.peer, old.name
        )),
    }
}

fn taken(candidate: &Candidate, by: &Known) -> String {
    format!(
        "the peer address {} is on record as that of {}: give each node its own, or remove {} first",
        candidate.peer, by.name, by.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u64, n: u64, voter: bool) -> Known {
        Known {
            id: NodeId(id),
            name: format!("n{n}"),
            peer: format!("10.0.0.{n}:7080"),
            voter,
        }
    }

    fn candidate(id: u64, n: u64, host: u64) -> Candidate {
        Candidate {
            id: NodeId(id),
            name: format!("n{n}"),
            peer: format!("10.0.0.{host}:7080"),
        }
    }

    #[test]
    fn a_new_name_at_a_new_address_enters() {
        let verdict = decide(&[known(1, 1, true)], &candidate(9, 4, 4), AtRecord::Nobody, false);
        assert_eq!(verdict, Verdict::Enter);
    }

    #[test]
    fn a_wiped_node_at_its_old_address_replaces_itself() {
        let verdict = decide(
            &[known(1, 1, true), known(2, 2, true)],
            &candidate(9, 2, 2),
            AtRecord::Candidate,
            false,
        );
        assert_eq!(verdict, Verdict::Replace { old: NodeId(2) });
    }

    #[test]
    fn a_second_live_process_of_one_name_is_refused_with_both_addresses() {
        let Verdict::Refuse(why) = decide(&[known(2, 2, true)], &candidate(9, 2, 7), AtRecord::Another, true) else {
            panic!("should be refused");
        };
        assert!(why.contains("10.0.0.2:7080") && why.contains("10.0.0.7:7080"), "{why}");
    }

    #[test]
    fn elsewhere_an_operator_must_have_said_so() {
        let members = [known(2, 2, true)];
        assert!(matches!(
            decide(&members, &candidate(9, 2, 7), AtRecord::Nobody, false),
            Verdict::Refuse(why) if why.contains("members replace n2")
        ));
        assert_eq!(
            decide(&members, &candidate(9, 2, 7), AtRecord::Nobody, true),
            Verdict::Replace { old: NodeId(2) }
        );
    }

    #[test]
    fn a_new_name_at_the_address_of_another_is_refused() {
        let verdict = decide(&[known(1, 1, true)], &candidate(9, 4, 1), AtRecord::Nobody, false);
        assert!(matches!(verdict, Verdict::Refuse(_)));
    }

    #[test]
    fn a_member_may_move_but_not_to_the_address_of_another() {
        let members = [known(1, 1, true), known(2, 2, true)];
        assert_eq!(
            decide(&members, &candidate(1, 1, 7), AtRecord::Nobody, false),
            Verdict::In
        );
        let verdict = decide(&members, &candidate(1, 1, 2), AtRecord::Nobody, false);
        assert!(matches!(verdict, Verdict::Refuse(_)));
    }

    #[test]
    fn asking_again_changes_nothing() {
        let verdict = decide(&[known(1, 1, true)], &candidate(1, 1, 1), AtRecord::Another, false);
        assert_eq!(verdict, Verdict::In);
    }
}
