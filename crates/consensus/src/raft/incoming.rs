//! A Raft snapshot that arrives in pieces. Pure.
//!
//! What has arrived is kept when the sender goes silent, so that the transfer goes on where it
//! stopped: after a lost connection, and from another leader too, since equal states have equal
//! images.

use thiserror::Error;

use super::message::ImageId;

/// The image that is arriving; at most one.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    image: Option<(ImageId, Vec<u8>)>,
}

/// Why a piece is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum IncomingError {
    #[error("a Raft snapshot of {0} bytes is more than this node takes")]
    TooLarge(u64),
    #[error("a piece of another Raft snapshot than the one begun: begin again")]
    Other,
    #[error("a piece at {offset} of a Raft snapshot that is here up to {have}")]
    Gap { offset: u64, have: u64 },
    #[error("the Raft snapshot is not complete, or not what was sent")]
    Incomplete,
}

/// The largest image taken.
pub(crate) const MAX_IMAGE: u64 = 256 * 1024 * 1024;

// === impl Incoming ===

impl Incoming {
    /// An image is announced; says how much of it is here already.
    pub(crate) fn begin(&mut self, id: ImageId) -> Result<u64, IncomingError> {
        if id.length > MAX_IMAGE {
            return Err(IncomingError::TooLarge(id.length));
        }
        match &self.image {
            Some((begun, bytes)) if *begun == id => Ok(bytes.len() as u64),
            _ => {
                self.image = Some((id, Vec::new()));
                Ok(0)
            }
        }
    }

    /// A piece arrived; says how much is here now. A piece that came before is no error.
    pub(crate) fn chunk(&mut self, id: ImageId, offset: u64, piece: &[u8]) -> Result<u64, IncomingError> {
        let Some((_, bytes)) = self.image.as_mut().filter(|(begun, _)| *begun == id) else {
            return Err(IncomingError::Other);
        };
        let have = bytes.len() as u64;
        if offset > have {
            return Err(IncomingError::Gap { offset, have });
        }
        // Not more than is here, or it would be a gap.
        let known = (have - offset) as usize;
        if let Some(news) = piece.get(known..) {
            if have + news.len() as u64 > id.length {
                return Err(IncomingError::Incomplete);
            }
            bytes.extend_from_slice(news);
        }
        Ok(bytes.len() as u64)
    }

    /// All was sent: gives the image.
    pub(crate) fn end(&mut self, id: ImageId) -> Result<Vec<u8>, IncomingError> {
        let (begun, bytes) = self.image.take().ok_or(IncomingError::Other)?;
        if begun != id {
            self.image = Some((begun, bytes));
            return Err(IncomingError::Other);
        }
        let whole = bytes.len() as u64 == id.length && crc32c::crc32c(&bytes) == id.crc;
        whole.then_some(bytes).ok_or(IncomingError::Incomplete)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(bytes: &[u8], index: u64) -> ImageId {
        ImageId {
            length: bytes.len() as u64,
            crc: crc32c::crc32c(bytes),
            index,
        }
    }

    #[test]
    fn pieces_in_order_make_the_image() {
        let (image, mut incoming) = (b"all of the state", Incoming::default());
        let id = id(image, 7);
        assert_eq!(incoming.begin(id), Ok(0));
        assert_eq!(incoming.chunk(id, 0, &image[..6]), Ok(6));
        assert_eq!(incoming.chunk(id, 6, &image[6..]), Ok(16));
        assert_eq!(incoming.end(id).unwrap(), image);
        assert_eq!(incoming.end(id), Err(IncomingError::Other), "it is given once");
    }

    #[test]
    fn an_interrupted_transfer_goes_on_where_it_stopped() {
        let (image, mut incoming) = (b"all of the state", Incoming::default());
        let id = id(image, 7);
        incoming.begin(id).unwrap();
        incoming.chunk(id, 0, &image[..6]).unwrap();
        assert_eq!(incoming.begin(id), Ok(6));
        assert_eq!(
            incoming.chunk(id, 4, &image[4..]),
            Ok(16),
            "what came before is not taken twice"
        );
        assert_eq!(incoming.end(id).unwrap(), image);
    }

    #[test]
    fn another_image_takes_the_place_of_one_that_never_ended() {
        let mut incoming = Incoming::default();
        let (old, new) = (id(b"old", 1), id(b"new", 2));
        incoming.begin(old).unwrap();
        incoming.chunk(old, 0, b"ol").unwrap();
        assert_eq!(incoming.begin(new), Ok(0));
        assert_eq!(incoming.chunk(old, 2, b"d"), Err(IncomingError::Other));
    }

    #[test]
    fn gaps_surplus_and_wrong_bytes_are_refused() {
        let mut incoming = Incoming::default();
        let id = id(b"state", 1);
        incoming.begin(id).unwrap();
        assert_eq!(
            incoming.chunk(id, 1, b"tate"),
            Err(IncomingError::Gap { offset: 1, have: 0 })
        );
        assert_eq!(incoming.chunk(id, 0, b"states"), Err(IncomingError::Incomplete));
        incoming.chunk(id, 0, b"statE").unwrap();
        assert_eq!(incoming.end(id), Err(IncomingError::Incomplete));
        let vast = ImageId {
            length: MAX_IMAGE + 1,
            ..id
        };
        assert_eq!(incoming.begin(vast), Err(IncomingError::TooLarge(vast.length)));
    }
}
