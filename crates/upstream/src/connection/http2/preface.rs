//! The first frame of a target: its settings (RFC 9113 §3.4).
//!
//! They tell how many streams it takes, and that it speaks HTTP/2 at all: so nothing is sent to a
//! target before they came.

/// Type of a SETTINGS frame (RFC 9113 §6.5).
const SETTINGS: u8 = 4;

/// The flag of SETTINGS that tell nothing, but that others were read.
const ACK: u8 = 1;

/// Bytes of a frame's header (RFC 9113 §4.1).
const HEADER: u8 = 9;

/// How much of the first frame was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preface {
    /// So many bytes of its header; with the length as far as it is known.
    Header { seen: u8, length: u32, settings: bool },
    /// So many bytes of it are still to come.
    Payload(u32),
    /// All of it.
    Settings,
    /// It is another frame, or none: h2 will say so.
    Other,
}

// === impl Preface ===

impl Default for Preface {
    fn default() -> Self {
        Self::Header {
            seen: 0,
            length: 0,
            settings: false,
        }
    }
}

impl Preface {
    /// Takes what came next; says whether the settings are complete with it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        for (i, byte) in bytes.iter().enumerate() {
            match self {
                Self::Header { seen, length, settings } => {
                    match *seen {
                        0..=2 => *length = *length << 8 | u32::from(*byte),
                        3 => *settings = *byte == SETTINGS,
                        4 => *settings &= *byte & ACK == 0,
                        _ => {}
                    }
                    *seen += 1;
                    if *seen == HEADER {
                        *self = match (*settings, *length) {
                            (false, _) => Self::Other,
                            (true, 0) => Self::Settings,
                            (true, length) => Self::Payload(length),
                        };
                    }
                }
                Self::Payload(left) => {
                    let came = u32::try_from(bytes.len() - i).unwrap_or(u32::MAX);
                    *left = left.saturating_sub(came);
                    if *left == 0 {
                        *self = Self::Settings;
                    }
                    break;
                }
                Self::Settings | Self::Other => break,
            }
        }
        *self == Self::Settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_settings_are_settings() {
        assert!(Preface::default().feed(&[0, 0, 0, 4, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn an_acknowledgement_is_none() {
        assert!(!Preface::default().feed(&[0, 0, 0, 4, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn an_answer_of_http1_is_none() {
        let mut preface = Preface::default();
        assert!(!preface.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_eq!(preface, Preface::Other);
    }

    proptest! {
        #[test]
        fn settings_are_complete_with_their_last_byte(entries in 0u8..6, cuts in prop::collection::vec(0usize..50, 0..5)) {
            let mut bytes = vec![0, 0, entries * 6, 4, 0, 0, 0, 0, 0];
            bytes.resize(bytes.len() + usize::from(entries) * 6, 1);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len() - 1)).collect();
            cuts.extend([0, bytes.len() - 1]);
            cuts.sort_unstable();
            let mut preface = Preface::default();
            for cut in cuts.windows(2) {
                prop_assert!(!preface.feed(&bytes[cut[0]..cut[1]]));
            }
            prop_assert!(preface.feed(&bytes[bytes.len() - 1..]));
        }
    }
}
