//! Where the frames of a WebSocket end (RFC 6455 §5.2), in bytes that pass by.
//!
//! Only lengths are read. That is enough to know when a frame of our own may be put between two of
//! theirs: a control frame may stand even within a fragmented message (§5.4).

/// Follows the bytes of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frames {
    /// What is there of the head of a frame that is not complete.
    head: Head,
    /// What is missing of the payload of the present frame.
    payload: u64,
    /// A close frame has passed: nothing may follow it (§5.5.1).
    closed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Head {
    bytes: [u8; 10],
    length: u8,
}

/// Who gets a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Client,
    /// With the key of the mask that every frame of a client has (§5.3).
    Service([u8; 4]),
}

const CLOSE: u8 = 0x8;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The status of who goes away (§7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

// === impl Frames ===

impl Frames {
    /// These bytes pass.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skip = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= skip as u64;
            bytes = &bytes[skip..];
            while let [first, rest @ ..] = bytes
                && self.payload == 0
            {
                bytes = rest;
                self.head.push(*first);
                if let Some(frame) = self.head.complete() {
                    self.payload = frame.rest;
                    self.closed |= frame.closes;
                    self.head = Head::default();
                }
            }
        }
    }

    /// Whether a frame may be put here: no other is under way, and none has said that it is the last.
    pub(super) fn may_close(&self) -> bool {
        self.payload == 0 && self.head.length == 0 && !self.closed
    }
}

/// What the head of a frame says.
struct Frame {
    /// Bytes that follow: the key of the mask and the payload.
    rest: u64,
    closes: bool,
}

// === impl Head ===

impl Head {
    fn push(&mut self, byte: u8) {
        // It is complete before it is full: see `needs`.
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    fn needs(&self) -> u8 {
        match self.bytes[1] & !MASKED {
            _ if self.length < 2 => 2,
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn complete(&self) -> Option<Frame> {
        if self.length < self.needs() {
            return None;
        }
        let [first, second, rest @ ..] = self.bytes;
        let length = match second & !MASKED {
            126 => u64::from(u16::from_be_bytes([rest[0], rest[1]])),
            127 => u64::from_be_bytes(rest),
            short => u64::from(short),
        };
        let key = if second & MASKED == 0 { 0 } else { 4 };
        Some(Frame {
            rest: length.saturating_add(key),
            closes: first & 0xf == CLOSE,
        })
    }
}

/// A close frame that says that we go away.
pub(super) fn going_away(to: To) -> Vec<u8> {
    let length = GOING_AWAY.len() as u8;
    match to {
        To::Client => [&[FIN | CLOSE, length][..], &GOING_AWAY].concat(),
        To::Service(key) => {
            let masked = [GOING_AWAY[0] ^ key[0], GOING_AWAY[1] ^ key[1]];
            [&[FIN | CLOSE, MASKED | length][..], &key, &masked].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame with this opcode, of so many bytes, masked or not.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![FIN | opcode];
        match length {
            0..126 => bytes.push(mask | length as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0xff; 4]);
        }
        bytes.extend(std::iter::repeat_n(0x88, length));
        bytes
    }

    #[test]
    fn nothing_has_passed_and_a_frame_may_come() {
        assert!(Frames::default().may_close());
    }

    #[test]
    fn behind_a_close_frame_nothing_may_come() {
        for to in [To::Client, To::Service([1, 2, 3, 4])] {
            let mut frames = Frames::default();
            frames.feed(&going_away(to));
            assert_eq!((frames.payload, frames.head.length, frames.closed), (0, 0, true));
            assert!(!frames.may_close());
        }
    }

    #[test]
    fn the_close_frame_of_a_client_is_masked() {
        assert_eq!(going_away(To::Client), [0x88, 2, 0x03, 0xe9]);
        let masked = going_away(To::Service([0xaa, 0x55, 0, 0]));
        assert_eq!(masked, [0x88, 0x82, 0xaa, 0x55, 0, 0, 0x03 ^ 0xaa, 0xe9 ^ 0x55]);
    }

    #[test]
    fn a_length_without_end_never_ends() {
        let mut frames = Frames::default();
        frames.feed(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        frames.feed(&[0; 100]);
        assert!(!frames.may_close());
    }

    proptest! {
        #[test]
        fn the_end_of_a_frame_is_known_wherever_the_segments_end(
            sizes in prop::collection::vec((prop_oneof![0usize..300, 65_530usize..65_540], any::<bool>()), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (length, masked) in sizes {
                bytes.extend(frame(2, length, masked));
                ends.push(bytes.len());
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend(&ends);
            cuts.push(0);
            cuts.sort_unstable();
            let mut frames = Frames::default();
            for pair in cuts.windows(2) {
                frames.feed(&bytes[pair[0]..pair[1]]);
                prop_assert_eq!(frames.may_close(), ends.contains(&pair[1]), "at {} of {:?}", pair[1], &ends);
            }
        }

        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let (mut split, mut whole) = (Frames::default(), Frames::default());
            for piece in &pieces {
                split.feed(piece);
            }
            whole.feed(&pieces.concat());
            prop_assert_eq!(split, whole);
        }
    }
}
