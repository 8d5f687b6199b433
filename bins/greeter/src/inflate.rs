//! Unpacks DEFLATE (RFC 1951), as far as `build.rs` packs with it: blocks that bring their
//! own codes. A library would do it faster and take 15 kB of the binary for it. No I/O.

/// What the data unpacks to; `None` if it is cut or broken. It sets no limit to the length.
pub(crate) fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut bits = Bits { data, position: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits.take(1)? == 1;
        if bits.take(2)? != 2 {
            return None;
        }
        unpack(&mut bits, &mut out)?;
        if last {
            return Some(out);
        }
    }
}

/// The data, bit by bit.
struct Bits<'a> {
    data: &'a [u8],
    /// Bits that are used up.
    position: usize,
}

impl Bits<'_> {
    /// A number of so many bits, the lowest first.
    fn take(&mut self, count: usize) -> Option<usize> {
        (0..count).try_fold(0, |number, n| {
            let byte = self.data.get(self.position / 8)?;
            let bit = usize::from(byte >> (self.position % 8)) & 1;
            self.position += 1;
            Some(number | bit << n)
        })
    }
}

/// A Huffman code (section 3.2.2).
struct Code {
    /// How many symbols have a code of so many bits.
    counts: [usize; 16],
    /// In the order of their codes.
    symbols: Vec<usize>,
}

impl Code {
    /// From the length of each symbol's code, 15 bits at most; 0 is none.
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        let mut symbols = Vec::with_capacity(lengths.len());
        for (length, count) in counts.iter_mut().enumerate().skip(1) {
            let before = symbols.len();
            symbols.extend((0..lengths.len()).filter(|&symbol| lengths[symbol] == length));
            *count = symbols.len() - before;
        }
        Self { counts, symbols }
    }

    /// The next symbol.
    fn take(&self, bits: &mut Bits) -> Option<usize> {
        // Codes of one length are consecutive numbers, and follow the shorter ones.
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return self.symbols.get(index + code.checked_sub(first)?).copied();
            }
            index += count;
            first = (first + count) * 2;
            code *= 2;
        }
        None
    }
}

/// The two codes that a block brings with it (section 3.2.7).
fn codes(bits: &mut Bits) -> Option<[Code; 2]> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances) = (bits.take(5)? + 257, bits.take(5)? + 1);
    let mut lengths = [0; 19];
    for &symbol in &ORDER[..bits.take(4)? + 4] {
        lengths[symbol] = bits.take(3)?;
    }
    let code = Code::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.take(bits)? {
            16 => (*lengths.last()?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (length, 1),
        };
        lengths.extend((0..times).map(|_| length));
    }
    let (literals, distances) = lengths.split_at(literals);
    Some([Code::new(literals), Code::new(distances)])
}

/// A block: its two codes, and then literals and copies (section 3.2.5).
fn unpack(bits: &mut Bits, out: &mut Vec<u8>) -> Option<()> {
    let [literals, distances] = codes(bits)?;
    loop {
        let length = match literals.take(bits)? {
            literal @ 0..256 => {
                out.push(u8::try_from(literal).ok()?);
                continue;
            }
            256 => return Some(()),
            285 => 258,
            symbol => number(bits, symbol - 257, 4)? + 3,
        };
        let symbol = distances.take(bits)?;
        let distance = number(bits, symbol, 2)? + 1;
        for _ in 0..length {
            out.push(*out.get(out.len().checked_sub(distance)?)?);
        }
    }
}

/// A length or a distance, from 0: symbols in groups of `group`, each group with one more
/// bit to follow than the one before it, except the first two, which have none.
fn number(bits: &mut Bits, symbol: usize, group: usize) -> Option<usize> {
    let more = (symbol / group).saturating_sub(1);
    let start = if symbol < group { symbol } else { (group + symbol % group) << more };
    Some(start + bits.take(more)?)
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_or_broken() {
        let good = compress_to_vec(include_bytes!("inflate.rs"), 10);
        assert_eq!(inflate(&good).unwrap(), include_bytes!("inflate.rs"));
        for end in 0..good.len() - 1 {
            assert_eq!(inflate(&good[..end]), None, "{end} bytes");
        }
        // Blocks of the other kinds.
        for kind in [0b001, 0b011, 0b111] {
            assert_eq!(inflate(&[kind, 1, 0, 0xfe, 0xff, b'x']), None, "{kind:b}");
        }
    }

    proptest! {
        /// Words that come again and again, near and far.
        #[test]
        fn it_undoes_what_miniz_oxide_does(
            words in vec("[a-z]{2,9} ?", 30..300),
            order in vec(any::<prop::sample::Index>(), 100..9000),
            level in 1..=10_u8,
        ) {
            let data: String = order.iter().map(|index| index.get(&words).as_str()).collect();
            let packed = compress_to_vec(data.as_bytes(), level);
            prop_assert_eq!(inflate(&packed), Some(data.into_bytes()));
        }

        #[test]
        fn noise_does_no_harm(mut data in vec(any::<u8>(), 1..300)) {
            data[0] = data[0] & !7 | 4; // a block of the kind it knows
            let _ = inflate(&data);
        }
    }
}
