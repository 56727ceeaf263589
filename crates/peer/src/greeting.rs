//! How two nodes prove to each other that they hold the same token. Pure.
//!
//! ```text
//!   dialler                                   acceptor
//!      │ ── TLS 1.3, throw-away certificate ──▶ │      both export the binding
//!      │ ── opening: versions, lane, id, digest ▶ │
//!      │ ◀ reply: go on or why not, id, digest ── │
//!      │ ── proof: HMAC(token, "dialler", …) ───▶ │      the acceptor says nothing of itself
//!      │ ◀ verdict, HMAC(token, "acceptor", …) ── │      before this has been checked
//!      │ ── identity ───────────────────────────▶ │
//!      │ ◀ identity ───────────────────────────── │
//! ```
//!
//! Everything before the verdict has a fixed size and carries nothing but random numbers and
//! digests. A proof covers the label of the side that makes it, the keying material that TLS
//! exports for this connection alone, and both first messages, with the ids and the digests of
//! both identities in them. So:
//!
//! - a proof cannot be replayed (another connection exports other material) nor reflected (the
//!   other side's label differs), nor moved to other versions, lanes or identities;
//! - whoever sits in the middle with TLS of its own on both sides has two connections with
//!   different material: RFC 8446 §7.5 derives it from the whole handshake, so no choice of keys
//!   makes two handshakes export the same; neither side's proof fits the other connection. The
//!   idea is RFC 9266's channel binding, under a label of our own. That is why the certificate
//!   needs no checking: it carries no trust, and there is none to be won by forging it;
//! - whoever only dials gets no proof to guess the token by, since the acceptor's comes second.
//!   Whoever is dialled gets one, which is why a token must not be guessable.

use aws_lc_rs::{digest, hmac};

use crate::Lane;
use crate::identity::{ClusterTag, Identity, NodeId};

/// The label under which TLS exports the binding (RFC 8446 §7.5, RFC 5705 §4).
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-sluice-peer-link";

/// The versions of everything after TLS that this binary speaks, lowest and highest.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// Bytes of the dialler's first message.
pub(crate) const OPENING: usize = 4 + 4 + 1 + 8 + 32;
/// Bytes of the acceptor's first message.
pub(crate) const REPLY: usize = 4 + 4 + 1 + 8 + 32;
/// Bytes of the dialler's proof.
pub(crate) const PROOF: usize = 32;
/// Bytes of the acceptor's judgement and proof.
pub(crate) const VERDICT: usize = 1 + PROOF;

/// The most bytes of an encoded identity.
pub(crate) const MAX_IDENTITY: usize = 16 * 1024;

const MAGIC_OPENING: [u8; 4] = *b"SLpd";
const MAGIC_REPLY: [u8; 4] = *b"SLpa";

/// Keying material of one TLS connection, known to its two ends alone.
pub(crate) type Binding = [u8; 32];

/// What one side says of itself before anything is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) id: NodeId,
    /// SHA-256 of the encoded identity that will be shown later.
    pub(crate) digest: [u8; 32],
}

/// Why a greeting goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("what answers there is not a sluice node's peer address")]
    Stranger,
    #[error("the other side's token is another one")]
    WrongToken,
    #[error("the node that was dialled has no cluster token")]
    NoToken,
    #[error("no version in common: it speaks {0} to {1}")]
    Version(u16, u16),
    #[error("the node that was dialled has as many connections as it takes")]
    Full,
}

/// The dialler after its opening.
pub(crate) struct Dialler {
    opening: [u8; OPENING],
}

/// The dialler after its proof.
pub(crate) struct Proved {
    transcript: Transcript,
    theirs: Claim,
}

/// The acceptor after its reply.
pub(crate) struct Acceptor {
    transcript: Transcript,
    theirs: Claim,
    lane: Lane,
}

/// Why a dialler was turned away, and what it is told, if anything.
pub(crate) type Refusal = (Fault, Option<[u8; REPLY]>);

/// What the proofs are made over.
struct Transcript {
    key: hmac::Key,
    bytes: Vec<u8>,
}

/// How two identities that may not talk to each other disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// They are the same node.
    Oneself,
    /// They belong to different clusters.
    Cluster {
        theirs: Box<ClusterTag>,
        ours: Box<ClusterTag>,
    },
    /// They bear one name and are two nodes.
    Name,
}

const GO_ON: u8 = 0;
const NO_TOKEN: u8 = 1;
const NO_VERSION: u8 = 2;
const FULL: u8 = 3;

const RIGHT: u8 = 0;
const WRONG_TOKEN: u8 = 1;

const DIALLER: &[u8] = b"sluice peer link: proof of the dialler\0";
const ACCEPTOR: &[u8] = b"sluice peer link: proof of the acceptor\0";

/// SHA-256 of an encoded identity.
pub(crate) fn digest_of(identity: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, identity).as_ref());
    out
}

/// Whether `ours` may talk to `theirs`. Both sides ask this, so both know the answer.
pub(crate) fn fit(ours: &Identity, theirs: &Identity) -> Result<(), Misfit> {
    if ours.id == theirs.id {
        return Err(Misfit::Oneself);
    }
    let (our_tag, their_tag) = (ours.tag(), theirs.tag());
    if !our_tag.agrees_with(&their_tag) {
        return Err(Misfit::Cluster {
            theirs: Box::new(their_tag),
            ours: Box::new(our_tag),
        });
    }
    if ours.name == theirs.name {
        return Err(Misfit::Name);
    }
    Ok(())
}

// === impl Dialler ===

impl Dialler {
    pub(crate) fn new(ours: Claim, lane: Lane) -> Self {
        let mut opening = [0; OPENING];
        write_first(&mut opening, MAGIC_OPENING, VERSIONS, number_of(lane), ours);
        Self { opening }
    }

    pub(crate) fn opening(&self) -> &[u8; OPENING] {
        &self.opening
    }

    /// Takes the acceptor's reply; gives our proof.
    pub(crate) fn on_reply(
        self,
        reply: &[u8; REPLY],
        binding: &Binding,
        key: hmac::Key,
    ) -> Result<(Proved, [u8; PROOF]), Fault> {
        let (versions, code, theirs) = read_first(reply, MAGIC_REPLY).ok_or(Fault::Stranger)?;
        match code {
            GO_ON => {}
            NO_TOKEN => return Err(Fault::NoToken),
            NO_VERSION => return Err(Fault::Version(versions.0, versions.1)),
            FULL => return Err(Fault::Full),
            _ => return Err(Fault::Stranger),
        }
        if common(VERSIONS, versions).is_none() {
            return Err(Fault::Version(versions.0, versions.1));
        }
        let transcript = Transcript::new(key, binding, &self.opening, reply);
        let proof = transcript.prove(DIALLER);
        Ok((Proved { transcript, theirs }, proof))
    }
}

// === impl Proved ===

impl Proved {
    /// Takes the acceptor's verdict: it holds the token too, and is who its reply claimed.
    pub(crate) fn on_verdict(self, verdict: &[u8; VERDICT]) -> Result<Claim, Fault> {
        let (code, proof) = (verdict[0], &verdict[1..]);
        match code {
            RIGHT if self.transcript.check(ACCEPTOR, proof) => Ok(self.theirs),
            // It let us in and has not the token itself: somebody in the middle, or a cheat.
            RIGHT | WRONG_TOKEN => Err(Fault::WrongToken),
            _ => Err(Fault::Stranger),
        }
    }
}

// === impl Acceptor ===

impl Acceptor {
    /// Takes the dialler's opening; gives our reply. A fault is answered by the reply that comes
    /// with it, where there is one.
    pub(crate) fn on_opening(
        opening: &[u8; OPENING],
        ours: Claim,
        binding: &Binding,
        key: Option<hmac::Key>,
        full: bool,
    ) -> Result<(Self, [u8; REPLY]), Refusal> {
        let Some((versions, lane, theirs)) = read_first(opening, MAGIC_OPENING) else {
            return Err((Fault::Stranger, None));
        };
        let reply = |code| {
            let mut reply = [0; REPLY];
            write_first(&mut reply, MAGIC_REPLY, VERSIONS, code, ours);
            reply
        };
        let Some(key) = key else {
            return Err((Fault::NoToken, Some(reply(NO_TOKEN))));
        };
        if common(VERSIONS, versions).is_none() {
            return Err((Fault::Version(versions.0, versions.1), Some(reply(NO_VERSION))));
        }
        if full {
            return Err((Fault::Full, Some(reply(FULL))));
        }
        let Some(lane) = lane_of(lane) else {
            return Err((Fault::Stranger, None));
        };
        let reply = reply(GO_ON);
        let transcript = Transcript::new(key, binding, opening, &reply);
        Ok((
            Self {
                transcript,
                theirs,
                lane,
            },
            reply,
        ))
    }

    /// Takes the dialler's proof; gives our verdict, and who it is if the proof holds.
    pub(crate) fn on_proof(self, proof: &[u8; PROOF]) -> (Result<(Claim, Lane), Fault>, [u8; VERDICT]) {
        let mut verdict = [0; VERDICT];
        if self.transcript.check(DIALLER, proof) {
            verdict[0] = RIGHT;
            verdict[1..].copy_from_slice(&self.transcript.prove(ACCEPTOR));
            (Ok((self.theirs, self.lane)), verdict)
        } else {
            verdict[0] = WRONG_TOKEN;
            (Err(Fault::WrongToken), verdict)
        }
    }
}

// === impl Transcript ===

impl Transcript {
    fn new(key: hmac::Key, binding: &Binding, opening: &[u8; OPENING], reply: &[u8; REPLY]) -> Self {
        // All of fixed length: no two transcripts run together to the same bytes.
        Self {
            key,
            bytes: [&binding[..], opening, reply].concat(),
        }
    }

    fn prove(&self, label: &[u8]) -> [u8; PROOF] {
        let mut out = [0; PROOF];
        out.copy_from_slice(hmac::sign(&self.key, &[label, &self.bytes].concat()).as_ref());
        out
    }

    /// Takes the same time whatever differs.
    fn check(&self, label: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.key, &[label, &self.bytes].concat(), proof).is_ok()
    }
}

/// The highest version that both speak.
fn common(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let highest = ours.1.min(theirs.1);
    (highest >= ours.0 && highest >= theirs.0).then_some(highest)
}

fn number_of(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 0,
        Lane::Bulk => 1,
    }
}

fn lane_of(number: u8) -> Option<Lane> {
    match number {
        0 => Some(Lane::Control),
        1 => Some(Lane::Bulk),
        _ => None,
    }
}

fn write_first(out: &mut [u8; OPENING], magic: [u8; 4], versions: (u16, u16), detail: u8, claim: Claim) {
    out[0..4].copy_from_slice(&magic);
    out[4..6].copy_from_slice(&versions.0.to_be_bytes());
    out[6..8].copy_from_slice(&versions.1.to_be_bytes());
    out[8] = detail;
    out[9..17].copy_from_slice(&claim.id.0.to_be_bytes());
    out[17..49].copy_from_slice(&claim.digest);
}

fn read_first(from: &[u8; OPENING], magic: [u8; 4]) -> Option<((u16, u16), u8, Claim)> {
    if from[0..4] != magic {
        return None;
    }
    let versions = (
        u16::from_be_bytes([from[4], from[5]]),
        u16::from_be_bytes([from[6], from[7]]),
    );
    let (mut id, mut digest) = ([0; 8], [0; 32]);
    id.copy_from_slice(&from[9..17]);
    digest.copy_from_slice(&from[17..49]);
    Some((
        versions,
        from[8],
        Claim {
            id: NodeId(u64::from_be_bytes(id)),
            digest,
        },
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn key(text: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text)
    }

    fn claim(id: u64) -> Claim {
        Claim {
            id: NodeId(id),
            digest: digest_of(&id.to_be_bytes()),
        }
    }

    /// A greeting in which the dialler sees one binding and the acceptor another, and what is sent
    /// may be changed on its way.
    fn greet(
        tokens: (&[u8], &[u8]),
        bindings: (Binding, Binding),
        opening: impl Fn(&mut [u8; OPENING]),
        reply: impl Fn(&mut [u8; REPLY]),
    ) -> Result<Claim, Fault> {
        let dialler = Dialler::new(claim(1), Lane::Control);
        let mut first = *dialler.opening();
        opening(&mut first);
        let (acceptor, mut second) =
            Acceptor::on_opening(&first, claim(2), &bindings.1, Some(key(tokens.1)), false).map_err(|(f, _)| f)?;
        reply(&mut second);
        let (proved, proof) = dialler.on_reply(&second, &bindings.0, key(tokens.0))?;
        let (theirs, verdict) = acceptor.on_proof(&proof);
        let seen = proved.on_verdict(&verdict);
        assert_eq!(theirs.is_ok(), seen.is_ok(), "both sides come to the same end");
        seen
    }

    #[test]
    fn the_same_token_on_one_connection_is_proved() {
        assert_eq!(greet((b"t", b"t"), ([7; 32], [7; 32]), |_| {}, |_| {}), Ok(claim(2)));
    }

    #[test]
    fn another_token_is_not() {
        assert_eq!(
            greet((b"t", b"u"), ([7; 32], [7; 32]), |_| {}, |_| {}),
            Err(Fault::WrongToken)
        );
    }

    #[test]
    fn two_connections_joined_in_the_middle_are_not_one() {
        assert_eq!(
            greet((b"t", b"t"), ([7; 32], [8; 32]), |_| {}, |_| {}),
            Err(Fault::WrongToken)
        );
    }

    proptest! {
        #[test]
        fn no_byte_of_the_first_messages_can_be_changed(at in 0usize..OPENING, by in 1u8.., second in any::<bool>()) {
            let same = ([7; 32], [7; 32]);
            let change = |m: &mut [u8; OPENING]| m[at] ^= by;
            let end = if second { greet((b"t", b"t"), same, |_| {}, change) } else { greet((b"t", b"t"), same, change, |_| {}) };
            prop_assert!(end.is_err());
        }

        #[test]
        fn any_bytes_are_answered_or_refused(bytes in any::<[u8; 32]>(), more in any::<[u8; 17]>(), magic in any::<bool>()) {
            let mut message = [0; OPENING];
            message[..32].copy_from_slice(&bytes);
            message[32..].copy_from_slice(&more);
            if magic {
                message[..4].copy_from_slice(&MAGIC_OPENING);
            }
            let _ = Acceptor::on_opening(&message, claim(2), &[7; 32], Some(key(b"t")), false);
            let _ = Dialler::new(claim(1), Lane::Bulk).on_reply(&message, &[7; 32], key(b"t"));
        }
    }

    #[test]
    fn a_reflected_proof_is_refused() {
        let dialler = Dialler::new(claim(1), Lane::Control);
        let mut reflected = *dialler.opening();
        reflected[..4].copy_from_slice(&MAGIC_REPLY);
        let (proved, proof) = dialler.on_reply(&reflected, &[7; 32], key(b"t")).unwrap();
        let mut verdict = [0; VERDICT];
        verdict[1..].copy_from_slice(&proof);
        assert_eq!(proved.on_verdict(&verdict), Err(Fault::WrongToken));
    }

    #[test]
    fn an_acceptor_without_a_token_a_full_one_and_another_version_each_say_so() {
        let say = |key: Option<hmac::Key>, full, versions: (u16, u16)| {
            let dialler = Dialler::new(claim(1), Lane::Bulk);
            let mut opening = *dialler.opening();
            write_first(&mut opening, MAGIC_OPENING, versions, 1, claim(1));
            let Err((_, Some(reply))) = Acceptor::on_opening(&opening, claim(2), &[7; 32], key, full) else {
                panic!("it went on");
            };
            dialler
                .on_reply(&reply, &[7; 32], super::tests::key(b"t"))
                .err()
                .unwrap()
        };
        assert_eq!(say(None, false, VERSIONS), Fault::NoToken);
        assert_eq!(say(Some(key(b"t")), true, VERSIONS), Fault::Full);
        assert_eq!(
            say(Some(key(b"t")), false, (7, 9)),
            Fault::Version(VERSIONS.0, VERSIONS.1)
        );
    }

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(common((1, 3), (2, 5)), Some(3));
        assert_eq!(common((1, 1), (2, 5)), None);
        assert_eq!(common((4, 5), (1, 2)), None);
    }
}
