//! A dictionary: what sessions have in common, so that a packed one holds only what is its own. It is trained on values and
//! holds pieces of them: it must never leave memory, nor be shown.

use std::cell::RefCell;
use std::fmt;
use std::num::NonZeroU8;

use zstd_safe::{CCtx, CDict, DCtx, DDict, get_frame_content_size};

use super::packed::PACKED_VALUE_BYTES_MAX;

/// Sessions of many kinds (`benches/sessions`), 372 bytes each, became 114 bytes with 16 KiB, and as many with 32, 64 and 112;
/// with 4 KiB they became 124.
const DICTIONARY_BYTES: usize = 16 * 1024;

/// Level 3 took a third more time for 112 bytes in place of 114, level 6 five times as much for 110.
const LEVEL: i32 = 1;

/// What each frame of zstd begins with; it is left out of packed values.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where a dictionary has its own number: zero leaves it out of the frames, which have ours beside them.
const NUMBER_OF_ZSTD: std::ops::Range<usize> = 4..8;

/// The longest header of a frame.
const FRAME_HEADER_BYTES_MAX: usize = 18;

/// A packed value must spare this at least, the step in which the allocator gives memory.
const SPARED_BYTES_MIN: usize = 16;

/// One of so many samples is not learnt from: it tells how well the others were learnt.
const CHECKED_SHARE: usize = 8;

/// The most bytes of all samples together: they are in memory twice while a dictionary is trained.
const SAMPLES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a training takes for a tenth of a second, as measured: tables of zstd's that are of the same size for few samples and for many.
pub const TRAINING_BYTES: usize = 12 * 1024 * 1024;

/// A dictionary, ready to pack and to unpack.
pub struct Dictionary {
    /// Its number; two that are in use at the same time never have the same.
    pub number: NonZeroU8,
    /// How many values it was trained on.
    pub samples: usize,
    packs: CDict<'static>,
    unpacks: DDict<'static>,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Dictionary").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Dictionary {
    /// Unpacks a value and shows it to `read`; `None` if these bytes are not what this dictionary has packed.
    pub fn unpack<T>(&self, packed: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        UNPACKER.with_borrow_mut(|unpacker| unpacker.unpack(&self.unpacks, packed).map(read))
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.packs.sizeof() + self.unpacks.sizeof()
    }
}

/// How many bytes a packed value has when it is unpacked; 0 if that cannot be read.
#[must_use]
pub fn unpacked_bytes(packed: &[u8]) -> usize {
    let mut header = [0; MAGIC.len() + FRAME_HEADER_BYTES_MAX];
    let end = MAGIC.len() + packed.len().min(FRAME_HEADER_BYTES_MAX);
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..end].copy_from_slice(&packed[..end - MAGIC.len()]);
    let bytes = get_frame_content_size(&header[..end]).ok().flatten();
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes <= PACKED_VALUE_BYTES_MAX).unwrap_or(0)
}

/// What a thread unpacks with: a context of some 96 KB, and room for one value, packed and unpacked.
struct Unpacker {
    context: DCtx<'static>,
    frame: Vec<u8>,
    value: Vec<u8>,
}

thread_local! {
    static UNPACKER: RefCell<Unpacker> =
        RefCell::new(Unpacker { context: DCtx::create(), frame: MAGIC.to_vec(), value: Vec::new() });
}

impl Unpacker {
    fn unpack(&mut self, dictionary: &DDict<'_>, packed: &[u8]) -> Option<&[u8]> {
        let bytes = unpacked_bytes(packed);
        if self.value.len() < bytes {
            self.value.resize(bytes, 0);
        }
        self.frame.truncate(MAGIC.len());
        self.frame.extend_from_slice(packed);
        let room = &mut self.value[..bytes];
        let written = self.context.decompress_using_ddict(room, &self.frame, dictionary).ok()?;
        (written == bytes).then_some(room)
    }
}

/// What values are packed with, one after the other.
pub struct Packer {
    context: CCtx<'static>,
    room: Vec<u8>,
}

impl fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self { context: CCtx::create(), room: vec![0; zstd_safe::compress_bound(PACKED_VALUE_BYTES_MAX)] }
    }
}

impl Packer {
    /// Packs a value; `None` if that spares too little.
    pub fn pack(&mut self, dictionary: &Dictionary, value: &[u8]) -> Option<&[u8]> {
        let fits = value.len() <= PACKED_VALUE_BYTES_MAX;
        let bytes =
            fits.then(|| self.context.compress_using_cdict(&mut self.room[..], value, &dictionary.packs))?.ok()?;
        let packed = self.room.get(MAGIC.len()..bytes)?;
        let spared = value.len().checked_sub(packed.len())?;
        (spared >= SPARED_BYTES_MIN.max(value.len() / 8)).then_some(packed)
    }

    /// What is left of so many bytes: packed by one and by the other dictionary.
    fn compare(&mut self, dictionary: &Dictionary, values: &[Box<[u8]>]) -> usize {
        values.iter().map(|value| self.pack(dictionary, value).map_or(value.len(), <[u8]>::len)).sum()
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.context.sizeof() + self.room.len()
    }
}

/// Values to train a dictionary on.
#[derive(Default)]
pub struct Samples {
    learnt: Vec<u8>,
    sizes: Vec<usize>,
    checked: Vec<Box<[u8]>>,
    bytes: usize,
}

impl fmt::Debug for Samples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Samples").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// A new dictionary, and what it makes of values that it has not seen.
#[derive(Debug)]
pub struct Trained {
    /// The dictionary.
    pub dictionary: Dictionary,
    /// Bytes of packed values for each byte of them.
    pub ratio: f64,
    /// The same with the dictionary that is in use, if there is one.
    pub ratio_before: f64,
}

impl Samples {
    /// Adds one, if there is room.
    pub fn add(&mut self, value: &[u8]) {
        self.bytes += value.len();
        if self.is_full() {
            return;
        }
        if self.count() % CHECKED_SHARE == CHECKED_SHARE - 1 {
            self.checked.push(value.into());
        } else {
            self.learnt.extend_from_slice(value);
            self.sizes.push(value.len());
        }
    }

    /// Whether there is no room for more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes > SAMPLES_BYTES_MAX
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sizes.len() + self.checked.len()
    }

    /// Trains a dictionary, some 60 ms of work for 2 000 values; `None` if nothing can be learnt from these.
    #[must_use]
    pub fn train(self, number: NonZeroU8, in_use: Option<&Dictionary>) -> Option<Trained> {
        let mut bytes = vec![0; DICTIONARY_BYTES];
        let length = zstd_safe::train_from_buffer(&mut bytes[..], &self.learnt, &self.sizes).ok()?;
        bytes.truncate(length);
        bytes.get_mut(NUMBER_OF_ZSTD)?.fill(0);
        let (packs, unpacks) = (CDict::try_create(&bytes, LEVEL)?, DDict::try_create(&bytes)?);
        let dictionary = Dictionary { number, samples: self.count(), packs, unpacks };
        let mut packer = Packer::default();
        let plain: usize = self.checked.iter().map(|value| value.len()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a ratio of a few digits")]
        let ratio = |packed: usize| packed as f64 / plain.max(1) as f64;
        let before = in_use.map_or(plain, |in_use| packer.compare(in_use, &self.checked));
        let after = packer.compare(&dictionary, &self.checked);
        Some(Trained { dictionary, ratio: ratio(after), ratio_before: ratio(before) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sessions of some length, each with ids and secrets of its own; `shape` changes what they have in common.
    fn sessions(shape: &str, count: u64) -> Vec<Vec<u8>> {
        let mut random = fastrand::Rng::with_seed(count);
        let session = |number| {
            let (secret, id): (u128, u64) = (random.u128(..), random.u64(..));
            format!(
                r#"{{"{shape}":{{"{shape}Age":86400000,"path":"/{shape}/{number}"}},"{shape}Secret":"{secret:x}","user":{id}}}"#
            )
        };
        (0..count).map(session).map(String::into_bytes).collect()
    }

    fn trained(number: u8, shape: &str) -> Trained {
        let mut samples = Samples::default();
        sessions(shape, 400).iter().for_each(|session| samples.add(session));
        samples.train(NonZeroU8::new(number).expect("a number"), None).expect("much to learn")
    }

    #[test]
    fn what_it_was_trained_for_becomes_much_smaller_and_is_read_back() {
        let Trained { dictionary, ratio, ratio_before } = trained(1, "cookie");
        assert!(ratio < 0.6 && ratio_before > 0.999, "{ratio} of {ratio_before}");
        let mut packer = Packer::default();
        for session in sessions("cookie", 50) {
            let packed = packer.pack(&dictionary, &session).expect("a smaller one");
            assert!(packed.len() < session.len() * 2 / 3);
            assert_eq!(unpacked_bytes(packed), session.len());
            assert_eq!(dictionary.unpack(packed, <[u8]>::to_vec).as_ref(), Some(&session));
        }
    }

    #[test]
    fn what_spares_too_little_is_not_packed() {
        let Trained { dictionary, .. } = trained(1, "cookie");
        let mut packer = Packer::default();
        let random: Vec<u8> = (0..300).map(|_| fastrand::u8(..)).collect();
        for value in [&b""[..], b"{}", br#"{"cookie":{}}"#, &random, &vec![b'x'; PACKED_VALUE_BYTES_MAX + 1]] {
            assert_eq!(packer.pack(&dictionary, value), None, "{} bytes", value.len());
        }
        assert!(packer.pack(&dictionary, &vec![b'x'; PACKED_VALUE_BYTES_MAX]).is_some());
    }

    #[test]
    fn nothing_is_learnt_from_nothing() {
        for count in [0, 1] {
            let mut samples = Samples::default();
            sessions("cookie", count).iter().for_each(|session| samples.add(session));
            assert!(samples.train(NonZeroU8::MIN, None).is_none());
        }
    }

    #[test]
    fn samples_are_bounded_in_bytes() {
        let mut samples = Samples::default();
        let large = vec![b'x'; SAMPLES_BYTES_MAX / 4];
        (0..9).for_each(|_| samples.add(&large));
        assert!(samples.is_full() && samples.count() == 4);
    }

    #[test]
    fn a_dictionary_shows_nothing_of_what_it_holds() {
        assert_eq!(format!("{:?}", trained(7, "cookie").dictionary), "Dictionary { number: 7, .. }");
    }

    proptest! {
        #[test]
        fn any_bytes_are_packed_and_unpacked_as_they_were(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..4_000),
                proptest::collection::vec(proptest::sample::select(&b"\"{}:,cokie0"[..]), 0..70_000),
            ],
        ) {
            thread_local! {
                static TOOLS: (RefCell<Packer>, Dictionary) = (RefCell::default(), trained(1, "cookie").dictionary);
            }
            TOOLS.with(|(packer, dictionary)| {
                let packed = packer.borrow_mut().pack(dictionary, &value).map(<[u8]>::to_vec);
                if let Some(packed) = packed {
                    prop_assert_eq!(unpacked_bytes(&packed), value.len());
                    prop_assert_eq!(dictionary.unpack(&packed, <[u8]>::to_vec), Some(value));
                }
                Ok(())
            })?;
        }

        #[test]
        fn bytes_that_were_never_packed_are_refused_or_read_as_something(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            thread_local! {
                static DICTIONARY: Dictionary = trained(1, "cookie").dictionary;
            }
            let length = unpacked_bytes(&bytes);
            let read = DICTIONARY.with(|dictionary| dictionary.unpack(&bytes, <[u8]>::len));
            prop_assert!(read.is_none_or(|read| read == length));
        }
    }
}
