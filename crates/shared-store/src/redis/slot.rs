//! The slots of Redis Cluster: CRC-16 (XMODEM) of a key's hash tag, modulo 16384.

/// The slot of what is between a key's braces.
pub(super) fn slot(tag: &[u8]) -> u16 {
    tag.iter().fold(0, |crc, byte| crc16(crc, *byte)) % 16384
}

/// One more byte. Bit by bit: slots are computed when a Cluster is looked at, not on a call.
fn crc16(crc: u16, byte: u8) -> u16 {
    (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
        if crc & 0x8000 == 0 {
            crc << 1
        } else {
            (crc << 1) ^ 0x1021
        }
    })
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn slots_are_those_of_the_specification() {
        // Of the specification: the check value of CRC-16/XMODEM, and two keys as `CLUSTER KEYSLOT` tells them.
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"bar"), 5061);
    }
}
