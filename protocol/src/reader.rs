//! A cursor over received bytes: every read is bounds-checked and names what it was about to read.

use crate::{Address, Malformed, Result};

/// Reads big-endian fields from a byte slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte to be read.
    #[inline]
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The bytes that have not been read yet; does not consume them.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// How many bytes have not been read yet.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything has been read.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The error to return when the field just looked at is unacceptable.
    #[inline]
    #[must_use]
    pub fn fail(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain; nothing is consumed then.
    #[inline]
    pub fn bytes(&mut self, n: usize, what: &'static str) -> Result<&'a [u8]> {
        let Some(taken) = self.rest().get(..n) else { return Err(self.fail(what)) };
        self.at += n;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let Some(taken) = self.rest().first_chunk::<N>() else { return Err(self.fail(what)) };
        self.at += N;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the input.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain.
    #[inline]
    pub fn u16(&mut self, what: &'static str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// The next eight bytes, big-endian.
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// The next five bytes as a node address (any value, also null and reserved ones).
    ///
    /// # Errors
    /// [`Malformed`] if fewer remain.
    #[inline]
    pub fn address(&mut self, what: &'static str) -> Result<Address> {
        Ok(Address::from_bytes(self.array(what)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_says_where_and_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u8("first"), Ok(1));
        assert_eq!(reader.u32("second"), Err(Malformed { what: "second", at: 1 }));
        assert_eq!(reader.u16("second"), Ok(0x0203));
        assert!(reader.is_empty());
        assert_eq!(reader.bytes(usize::MAX, "huge"), Err(Malformed { what: "huge", at: 3 }));
    }
}
