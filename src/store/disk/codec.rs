//! Bytes of a row: a version, a checksum, and plain fields. Numbers are little-endian, texts have their
//! length before them.

use crc32fast::Hasher;

/// The version of a row's shape.
const VERSION: u8 = 1;

/// Version and checksum.
const HEAD: usize = 5;

/// Why bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    /// The checksum is another, or there is no room for one.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum is right, and yet it cannot be read.
    #[error("the fields cannot be read")]
    Fields,
}

/// Writes a row.
#[derive(Debug)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn with_capacity(fields: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + fields);
        bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        Self(bytes)
    }

    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn number(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn wide(&mut self, value: u128) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        // Nothing that comes from the wire is that long: bodies are bounded by the settings, and the
        // database takes no more than 3 GiB.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// None is a 0; some is a 1, and what `write` writes.
    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            Some(value) => {
                self.byte(1);
                write(self, value);
            }
            None => {
                self.byte(0);
            }
        }
        self
    }

    /// The row, with its checksum.
    pub(super) fn finish(self) -> Vec<u8> {
        let Encoder(mut row) = self;
        let mut hasher = Hasher::new();
        hasher.update(&row[HEAD..]);
        seal(&mut row, hasher);
        row
    }

    /// The row without its checksum, and the hasher of what stands behind the first `skip` bytes of the
    /// fields: those are written later.
    pub(super) fn unsealed(self, skip: usize) -> (Vec<u8>, Hasher) {
        let mut hasher = Hasher::new();
        hasher.update(&self.0[HEAD + skip..]);
        (self.0, hasher)
    }
}

/// Writes the first fields of an unsealed row, whose rest was hashed before, and its checksum.
pub(super) fn seal_with(row: &mut [u8], first: &[u8], rest: &Hasher) {
    row[HEAD..HEAD + first.len()].copy_from_slice(first);
    let mut hasher = Hasher::new();
    hasher.update(first);
    hasher.combine(rest);
    seal(row, hasher);
}

fn seal(row: &mut [u8], hasher: Hasher) {
    row[1..HEAD].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// Reads a row.
#[derive(Debug)]
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// The fields of a row whose checksum is right.
    pub(super) fn new(row: &'a [u8]) -> Result<Self, Damage> {
        let (head, fields) = row.split_at_checked(HEAD).ok_or(Damage::Checksum)?;
        if head[1..] != crc32fast::hash(fields).to_le_bytes() {
            return Err(Damage::Checksum);
        }
        if head[0] != VERSION { Err(Damage::Fields) } else { Ok(Self(fields)) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Fields)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damage> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn wide(&mut self) -> Result<u128, Damage> {
        self.array().map(u128::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = u32::from_le_bytes(self.array()?);
        let length = usize::try_from(length).map_err(|_| Damage::Fields)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damage::Fields)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Fields)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damage>,
    ) -> Result<Option<T>, Damage> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Damage::Fields),
        }
    }

    /// A field that rows of the first versions have not: its default where they end.
    pub(super) fn added<T: Default>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Damage>,
    ) -> Result<T, Damage> {
        if self.0.is_empty() { Ok(T::default()) } else { read(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Vec<u8> {
        let mut row = Encoder::with_capacity(0);
        row.byte(7).number(1 << 40).wide(1 << 100).text("kari").bytes(b"\0\xff");
        row.option(Some(3), |row, value| _ = row.number(value)).option(None::<u64>, |_, _| {});
        row.finish()
    }

    #[test]
    fn a_row_reads_back() {
        let row = row();
        let mut fields = Decoder::new(&row).unwrap();
        assert_eq!(fields.byte(), Ok(7));
        assert_eq!(fields.number(), Ok(1 << 40));
        assert_eq!(fields.wide(), Ok(1 << 100));
        assert_eq!(fields.text(), Ok("kari"));
        assert_eq!(fields.bytes(), Ok(&b"\0\xff"[..]));
        assert_eq!(fields.option(Decoder::number), Ok(Some(3)));
        assert_eq!(fields.option(Decoder::number), Ok(None));
        assert_eq!(fields.byte(), Err(Damage::Fields), "there is no more");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let row = row();
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Decoder::new(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..row.len() {
            assert!(Decoder::new(&row[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_damage() {
        let mut row = Encoder::with_capacity(0);
        row.byte(255).byte(255).byte(255).byte(255);
        assert_eq!(Decoder::new(&row.finish()).unwrap().bytes(), Err(Damage::Fields));
    }

    #[test]
    fn a_row_may_be_sealed_later() {
        let mut whole = Encoder::with_capacity(0);
        whole.number(5).number(6).text("body");
        let mut later = Encoder::with_capacity(0);
        later.number(0).number(0).text("body");
        let (mut row, rest) = later.unsealed(16);
        seal_with(&mut row, &[5_u64.to_le_bytes(), 6_u64.to_le_bytes()].concat(), &rest);
        assert_eq!(row, whole.finish());
    }
}
