//! The frames of a client, as its bytes come (RFC 9113 §4.1).
//!
//! The HTTP/2 library tells of requests and their bodies, and nothing of what else a client has it
//! do, and has one name for all that a frame can be wrong by. Here frames are seen from outside: kinds
//! and lengths, and no payload.

use h2::Reason;

/// Bytes before the payload of each frame.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
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

/// What a frame is wrong by, as its first nine bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Behind the preface comes something else than settings (RFC 9113 §3.4).
    NoSettings,
    /// Its length is not that of its kind (RFC 9113 §6.3 to §6.9). Where only a stream would have to end,
    /// the connection does: no client sends such a frame by chance.
    Length,
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
    /// Takes the next bytes, and tells each frame whose first nine bytes are complete with them. At a
    /// frame that is wrong it stops, with how many of the bytes came before it.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) -> Result<(), (usize, Fault)> {
        let all = bytes.len();
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
            let before = all - bytes.len();
            let n = (HEAD - self.filled).min(bytes.len());
            self.head[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
            self.filled += n;
            bytes = &bytes[n..];
            if self.filled == HEAD {
                self.filled = 0;
                tell(self.begin().map_err(|fault| (before, fault))?);
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Seen, Fault> {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The first bit is reserved and ignored.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        if self.began == 1 && (kind != SETTINGS || flags & ACK != 0) {
            return Err(Fault::NoSettings);
        }
        // Within fields it is out of place, whatever its length.
        if !self.in_fields && !has_length_of_kind(kind, flags, length) {
            return Err(Fault::Length);
        }
        self.rest = length;
        self.kind = kind;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_fields = flags & END_HEADERS == 0;
        }
        Ok(match kind {
            DATA if length > 0 || flags & END_STREAM != 0 => Seen::Body(length),
            DATA => Seen::Empty,
            HEADERS if stream > self.newest => {
                self.newest = stream;
                self.opened += 1;
                Seen::Opens
            }
            SETTINGS => Seen::Settings,
            _ => Seen::Other,
        })
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

fn has_length_of_kind(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        PING => length == 8,
        SETTINGS if flags & ACK != 0 => length == 0,
        SETTINGS => length.is_multiple_of(6),
        _ => true,
    }
}

// === impl Fault ===

impl Fault {
    /// What the client is told.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::NoSettings => Reason::PROTOCOL_ERROR,
            Self::Length => Reason::FRAME_SIZE_ERROR,
        }
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
        assert_eq!(frames.feed(bytes, |seen| all.push(seen)), Ok(()));
        all
    }

    /// Behind the client's first settings.
    fn begun() -> Frames {
        let mut frames = Frames::default();
        assert_eq!(seen(&mut frames, &frame(SETTINGS, 0, 0, 0)), [Seen::Settings]);
        frames
    }

    #[test]
    fn nothing_but_settings_comes_first() {
        for (kind, flags, right) in [
            (SETTINGS, 0, true),
            (SETTINGS, ACK, false),
            (PING, 0, false),
            (HEADERS, 4, false),
        ] {
            let length = if kind == PING { 8 } else { 0 };
            let fed = Frames::default().feed(&frame(kind, flags, 0, length), |_| ());
            assert_eq!(fed.is_ok(), right, "{kind} {flags}");
        }
    }

    #[test]
    fn a_frame_that_is_wrong_is_told_with_where_it_begins() {
        for (kind, flags, length) in [
            (PRIORITY, 0, 4),
            (RST_STREAM, 0, 3),
            (WINDOW_UPDATE, 0, 5),
            (PING, 0, 6),
            (SETTINGS, 0, 3),
            (SETTINGS, ACK, 6),
        ] {
            let good = frame(DATA, 0, 1, 7);
            let bytes = [&good[..], &frame(kind, flags, 1, length), &good].concat();
            let (mut frames, mut told) = (begun(), 0);
            let fed = frames.feed(&bytes, |_| told += 1);
            assert_eq!((fed, told), (Err((good.len(), Fault::Length)), 1), "{kind}");
            // Cut within its head, nothing of the second part is before it.
            let (first, second) = bytes.split_at(good.len() + 4);
            let mut frames = begun();
            assert_eq!(frames.feed(first, |_| ()), Ok(()));
            assert_eq!(frames.feed(second, |_| ()), Err((0, Fault::Length)), "{kind}");
        }
    }

    #[test]
    fn a_stream_is_opened_once() {
        let mut frames = begun();
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
        let mut frames = begun();
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
        let mut frames = begun();
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
            let (mut whole, mut expected) = (begun(), Vec::new());
            let stopped = whole.feed(&bytes, |seen| expected.push(seen));
            prop_assert!(stopped.is_err() || expected.len() == all.len());
            let (mut pieces, mut got, mut taken) = (begun(), Vec::new(), 0);
            let mut in_pieces = Ok(());
            for cut in cuts.iter().cycle() {
                if taken == bytes.len() || in_pieces.is_err() {
                    break;
                }
                let piece = &bytes[taken..bytes.len().min(taken + cut)];
                in_pieces = pieces.feed(piece, |seen| got.push(seen)).map_err(|(before, fault)| (taken + before, fault));
                taken += piece.len();
            }
            prop_assert_eq!(got, expected);
            match (in_pieces, stopped) {
                // Parts of its head may have gone by before it was known.
                (Err((late, fault)), Err((before, same))) => {
                    prop_assert!(late >= before && late < before + HEAD && fault == same);
                }
                (in_pieces, stopped) => prop_assert_eq!(in_pieces, stopped),
            }
            prop_assert_eq!(pieces.incomplete(), whole.incomplete());
        }
    }
}
