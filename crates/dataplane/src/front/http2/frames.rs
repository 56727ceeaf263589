//! The frames of a client, as its bytes come (RFC 9113 §4.1).
//!
//! The HTTP/2 library tells of requests and their bodies, and nothing of what else a client has it
//! do. Here that is seen from outside: kinds and lengths, and no payload.

/// Bytes before the payload of each frame.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const SETTINGS: u8 = 4;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Follows the frames of one connection from behind its preface.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// How much of `head` is there.
    filled: usize,
    /// What is still to come of the payload.
    rest: usize,
    /// The frame whose payload is under way.
    kind: u8,
    /// Fields of a request are under way: nothing else may come until they are complete.
    in_fields: bool,
    /// The highest stream that was opened.
    newest: u32,
    opened: u64,
    /// Frames that began, all fields of a message counted as one.
    began: u64,
}

/// What a frame is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Opens a stream.
    Opens,
    /// Bytes of a body, or its end.
    Body(usize),
    /// Settings, which are applied to each stream.
    Settings,
    /// A part of a body that is none.
    Empty,
    /// Anything else.
    Other,
}

// === impl Frames ===

impl Frames {
    /// Takes the next bytes, and tells each frame whose first nine bytes are complete with them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                self.rest -= n;
                bytes = &bytes[n..];
                continue;
            }
            if self.filled == 0 && !self.in_fields {
                self.began += 1;
            }
            let n = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == HEAD {
                self.filled = 0;
                tell(self.begin());
            }
        }
    }

    fn begin(&mut self) -> Seen {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The first bit is reserved and ignored.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        self.rest = length;
        self.kind = kind;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_fields = flags & END_HEADERS == 0;
        }
        match kind {
            DATA if length > 0 || flags & END_STREAM != 0 => Seen::Body(length),
            DATA => Seen::Empty,
            HEADERS if stream > self.newest => {
                self.newest = stream;
                self.opened += 1;
                Seen::Opens
            }
            SETTINGS => Seen::Settings,
            _ => Seen::Other,
        }
    }

    /// How many streams were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    /// Which frame is incomplete, if one is that the connection cannot go on without: a number that
    /// is another for another frame. Fields in several frames are one. The bytes of a body are not
    /// among it: how fast they come is their stream's matter.
    pub(super) fn incomplete(&self) -> Option<u64> {
        let payload = self.rest > 0 && self.kind != DATA;
        (self.filled > 0 || payload || self.in_fields).then_some(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (u32::try_from(payload).unwrap_or_default()).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(HEAD + payload, 0xaa);
        bytes
    }

    fn seen(frames: &mut Frames, bytes: &[u8]) -> Vec<Seen> {
        let mut all = Vec::new();
        frames.feed(bytes, |seen| all.push(seen));
        all
    }

    #[test]
    fn a_stream_is_opened_once() {
        let mut frames = Frames::default();
        let mut bytes = frame(HEADERS, END_HEADERS, 1, 4);
        bytes.extend(frame(DATA, 0, 1, 3));
        bytes.extend(frame(DATA, 0, 1, 0));
        bytes.extend(frame(DATA, END_STREAM, 1, 0));
        // Trailers, and the next request.
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, 4));
        bytes.extend(frame(HEADERS, END_HEADERS, 3, 4));
        bytes.extend(frame(SETTINGS, 0, 0, 6));
        bytes.extend(frame(0x63, 0, 0, 2));
        assert_eq!(
            seen(&mut frames, &bytes),
            [
                Seen::Opens,
                Seen::Body(3),
                Seen::Empty,
                Seen::Body(0),
                Seen::Other,
                Seen::Opens,
                Seen::Settings,
                Seen::Other
            ]
        );
        assert_eq!(frames.incomplete(), None);
    }

    #[test]
    fn fields_in_several_frames_are_one_that_is_incomplete() {
        let mut frames = Frames::default();
        assert_eq!(frames.incomplete(), None);
        seen(&mut frames, &frame(HEADERS, 0, 1, 4));
        let first = frames.incomplete();
        assert!(first.is_some());
        seen(&mut frames, &frame(CONTINUATION, 0, 1, 4));
        assert_eq!(frames.incomplete(), first);
        seen(&mut frames, &frame(CONTINUATION, END_HEADERS, 1, 4));
        assert_eq!(frames.incomplete(), None);
        let next = frame(HEADERS, END_HEADERS, 3, 4);
        seen(&mut frames, &next[..5]);
        assert!(frames.incomplete() > first);
        seen(&mut frames, &next[5..10]);
        assert!(frames.incomplete() > first);
        seen(&mut frames, &next[10..]);
        assert_eq!(frames.incomplete(), None);
    }

    #[test]
    fn half_a_body_is_its_streams_matter() {
        let mut frames = Frames::default();
        let data = frame(DATA, 0, 1, 100);
        seen(&mut frames, &data[..50]);
        assert_eq!(frames.incomplete(), None);
    }

    proptest! {
        #[test]
        fn segments_do_not_matter(
            all in prop::collection::vec((0u8..12, any::<u8>(), 0u32..9, 0usize..40), 1..20),
            cuts in prop::collection::vec(1usize..30, 1..40),
        ) {
            let bytes: Vec<u8> = all.iter().flat_map(|(kind, flags, stream, length)| frame(*kind, *flags, *stream, *length)).collect();
            let mut whole = Frames::default();
            let expected = seen(&mut whole, &bytes);
            prop_assert_eq!(expected.len(), all.len());
            let (mut pieces, mut got, mut rest) = (Frames::default(), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                got.extend(seen(&mut pieces, piece));
                rest = after;
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(pieces.incomplete(), whole.incomplete());
        }
    }
}
