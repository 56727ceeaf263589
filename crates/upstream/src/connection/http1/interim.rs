//! Counting interim answers in the bytes of a connection.
//!
//! The door's client skips 1xx heads without a word (its callback for them would cost several
//! allocations a request), so they are counted as they pass by.

/// Follows the heads of one exchange's answer; off from the final head on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Interim {
    /// Nothing to count any more.
    #[default]
    Off,
    /// This many bytes of `HTTP/1.1 1xx` have passed, and so far the status begins with `1`.
    Start { seen: u8, switching: bool },
    /// Within an interim head, up to the empty line.
    Head { line_empty: bool },
}

// === impl Interim ===

impl Interim {
    /// For a request that is about to be sent.
    pub(crate) const fn begin() -> Self {
        Self::Start {
            seen: 0,
            switching: true,
        }
    }

    /// How many interim heads end in `bytes`, which follow what was fed before. 101 is none: it is
    /// an answer.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> u32 {
        let mut ended = 0;
        for byte in bytes {
            match self {
                Self::Off => break,
                Self::Start { seen: 0, .. } if matches!(byte, b'\r' | b'\n') => {}
                Self::Start { seen, switching } => {
                    let digit = match *seen {
                        9 => *byte == b'1',
                        10 => {
                            *switching &= *byte == b'0';
                            true
                        }
                        11 => {
                            *switching &= *byte == b'1';
                            !*switching
                        }
                        _ => true,
                    };
                    *self = match (digit, *seen) {
                        (false, _) => Self::Off,
                        (true, 11) => Self::Head { line_empty: false },
                        (true, seen) => Self::Start {
                            seen: seen + 1,
                            switching: *switching,
                        },
                    };
                }
                Self::Head { line_empty } => match byte {
                    b'\n' if *line_empty => {
                        ended += 1;
                        *self = Self::begin();
                    }
                    b'\n' => *line_empty = true,
                    b'\r' => {}
                    _ => *line_empty = false,
                },
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_final_head_counts_nothing() {
        let mut interim = Interim::begin();
        assert_eq!(interim.feed(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"), 0);
        assert_eq!(interim, Interim::Off);
    }

    #[test]
    fn switching_protocols_is_an_answer() {
        assert_eq!(Interim::begin().feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), 0);
        assert_eq!(Interim::begin().feed(b"HTTP/1.1 111 x\r\n\r\n"), 1);
        assert_eq!(Interim::begin().feed(b"HTTP/1.1 100 x\r\n\r\n"), 1);
    }

    proptest! {
        #[test]
        fn heads_are_counted_wherever_the_segments_end(cuts in prop::collection::vec(0usize..140, 0..6)) {
            let bytes: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 x\n\nHTTP/1.1 200 OK\r\n\r\n1";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut interim = Interim::begin();
            let count: u32 = cuts.windows(2).map(|cut| interim.feed(&bytes[cut[0]..cut[1]])).sum();
            prop_assert_eq!(count, 3);
            prop_assert_eq!(interim, Interim::Off);
        }
    }
}
