//! Suite 3 on vectors of blocks, for processors with instructions for AES and carry-less products.
//!
//! **GHASH** is computed with octets reversed (as POLYVAL, RFC 8452 appendix A), where a reduction is two products
//! with a constant. Groups of vectors are multiplied by descending powers of the hash key and summed before they are
//! reduced, once for 8 or 16 blocks. Between groups the lanes of a vector stay apart, each a sum that lacks a power
//! of the key by its place; the powers that the last, incomplete group is multiplied by make up for that. The
//! associated data and the block of lengths enter the same sum with a power each, so a short packet costs one
//! reduction altogether.
//!
//! **Opening** goes through the payload once: decrypted vectors are hashed while they are in registers, and as
//! the two use different units of the processor, the shorter of them is nearly free. **Sealing** has to know the
//! tag before the first block of keystream and takes two passes.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Opened;
use crate::crypto::x86::{Avx2, Avx512, Blocks, Job, Sse};

/// The reduction constant of POLYVAL: x¹²⁷ + x¹²⁶ + x¹²¹ in the upper half, of which the lowest bit is x⁶⁴.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000;
/// Powers of the hash key: those of a last group of (16 + 2) blocks and the lengths, and one for associated data.
const POWERS: usize = 20;
/// Blocks that a last group has at least when another came before, so that each lane finds its power.
const LAST: usize = 3;

/// Which vectors to use, with the token that proves they can be.
#[derive(Clone, Copy)]
pub(super) enum Width {
    /// Four blocks.
    Four(Avx512),
    /// Two blocks.
    Two(Avx2),
    /// One block.
    One(Sse),
}

/// Key schedules and hash key powers of one peer.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[repr(align(64))]
pub(super) struct Keys {
    /// Round keys of `k0`.
    k0: [u128; 15],
    /// Round keys of `k1`.
    k1: [u128; 15],
    /// Round keys of the equivalent inverse cipher under `k1`.
    k1_inverse: [u128; 15],
    /// Powers of the hash key from [`POWERS`] down to 1, then zeros: a vector can be read from each.
    powers: [u128; POWERS + 3],
}

/// Where a power stands in [`Keys::powers`].
#[inline(always)]
fn place(power: usize) -> usize {
    POWERS - power
}

impl Keys {
    /// Expands both keys: `k0` authenticates, `k1` encrypts.
    pub(super) fn new(simd: Sse, k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        struct Expand<'a>(&'a [u8; 32], &'a [u8; 32]);
        impl Job for Expand<'_> {
            type Output = Keys;
            #[inline(always)]
            fn run<S: Blocks, const GROUP: usize>(self, simd: S) -> Keys {
                let simd = simd.single();
                let (k0, k1) = (expand(simd, self.0), expand(simd, self.1));
                let mut k1_inverse = k1;
                k1_inverse.reverse();
                for key in &mut k1_inverse[1..14] {
                    *key = simd.fold(simd.aes_inverse_key(simd.broadcast(*key)));
                }
                // Multiplied by x, which the reversed bit order wants.
                let hash_key = Zeroizing::new(encrypt(simd, &k0, 0).swap_bytes());
                let carry = (*hash_key >> 127).wrapping_neg() & (POLYNOMIAL << 64 | 1);
                let hash_key = Zeroizing::new(*hash_key << 1 ^ carry);
                let mut powers = [0; POWERS + 3];
                powers[place(1)] = *hash_key;
                for power in 2..=POWERS {
                    let mut product = Product::new(simd);
                    let previous = simd.broadcast(powers[place(power - 1)]);
                    product.add(simd, previous, simd.broadcast(*hash_key));
                    powers[place(power)] = simd.fold(product.reduce(simd));
                }
                Keys { k0, k1, k1_inverse, powers }
            }
        }
        simd.run(Expand(k0, k1))
    }
}

/// The round keys of AES-256 (FIPS 197, section 5.2).
#[inline(always)]
fn expand(simd: Sse, key: &[u8; 32]) -> [u128; 15] {
    // The cipher's own S-box: in a state of four equal columns, moving rows changes nothing.
    let substitute = |word: u32| {
        let column = simd.broadcast(u128::from(word) * 0x0000_0001_0000_0001_0000_0001_0000_0001);
        simd.fold(simd.aes_last(column, simd.zero())) as u32
    };
    let mut words = Zeroizing::new([0u32; 60]);
    for (word, octets) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*octets);
    }
    for i in 8..60 {
        let previous = words[i - 1];
        let mixed = match i % 8 {
            0 => substitute(previous).rotate_right(8) ^ 1 << (i / 8 - 1),
            4 => substitute(previous),
            _ => previous,
        };
        words[i] = words[i - 8] ^ mixed;
    }
    let mut keys = [0; 15];
    for (key, words) in keys.iter_mut().zip(words.as_chunks::<4>().0) {
        *key = words.iter().rev().fold(0, |key, word| key << 32 | u128::from(*word));
    }
    keys
}

/// Encrypts one block.
#[inline(always)]
fn encrypt(simd: Sse, keys: &[u128; 15], block: u128) -> u128 {
    let mut state = simd.xor(simd.broadcast(block), simd.broadcast(keys[0]));
    for key in &keys[1..14] {
        state = simd.aes_round(state, simd.broadcast(*key));
    }
    simd.fold(simd.aes_last(state, simd.broadcast(keys[14])))
}

/// Decrypts one block, given the keys of the equivalent inverse cipher.
#[inline(always)]
fn decrypt(simd: Sse, keys: &[u128; 15], block: u128) -> u128 {
    let mut state = simd.xor(simd.broadcast(block), simd.broadcast(keys[0]));
    for key in &keys[1..14] {
        state = simd.aes_inverse_round(state, simd.broadcast(*key));
    }
    simd.fold(simd.aes_inverse_last(state, simd.broadcast(keys[14])))
}

/// A sum of carry-less products, not reduced: their lower, middle and upper parts, which overlap by halves.
struct Product<V> {
    low: V,
    middle: V,
    high: V,
}

impl<V: Copy> Product<V> {
    #[inline(always)]
    fn new<S: Blocks<Vector = V>>(simd: S) -> Self {
        Self { low: simd.zero(), middle: simd.zero(), high: simd.zero() }
    }

    /// Adds the products of two vectors' blocks.
    #[inline(always)]
    fn add<S: Blocks<Vector = V>>(&mut self, simd: S, a: V, b: V) {
        self.low = simd.xor(self.low, simd.multiply_low(a, b));
        self.middle = simd.xor(self.middle, simd.multiply_cross(a, b));
        self.high = simd.xor(self.high, simd.multiply_high(a, b));
    }

    /// Reduces each block modulo the polynomial of POLYVAL, and multiplies by x⁻¹²⁸ as it defines (RFC 8452).
    #[inline(always)]
    fn reduce<S: Blocks<Vector = V>>(&self, simd: S) -> V {
        let polynomial = simd.broadcast(POLYNOMIAL);
        let mut low = simd.xor(self.low, simd.shift_up(self.middle));
        let high = simd.xor(self.high, simd.shift_down(self.middle));
        for _ in 0..2 {
            low = simd.xor(simd.swap(low), simd.multiply_low(low, polynomial));
        }
        simd.xor(high, low)
    }
}

/// The counters of the next vector of keystream, as numbers.
struct Counter<V> {
    next: V,
    step: V,
}

impl<V: Copy> Counter<V> {
    /// Begins as a wire tag says.
    #[inline(always)]
    fn new<S: Blocks<Vector = V>>(simd: S, tag: u128) -> Self {
        // The highest bit of the 32 that count is cleared, so that they cannot wrap within a packet.
        let block = tag.swap_bytes() & !(1 << 31);
        Self { next: simd.count_from(block), step: simd.broadcast(S::BLOCKS as u128) }
    }

    /// Exclusive or of vectors and keystream.
    #[inline(always)]
    fn apply<S: Blocks<Vector = V>, const N: usize>(
        &mut self,
        simd: S,
        keys: &[u128; 15],
        data: &mut [V; N],
    ) {
        let key = simd.broadcast(keys[0]);
        let mut states = [self.next; N];
        for state in &mut states {
            *state = simd.xor(simd.reverse(self.next), key);
            self.next = simd.add_32(self.next, self.step);
        }
        for key in &keys[1..14] {
            let key = simd.broadcast(*key);
            for state in &mut states {
                *state = simd.aes_round(*state, key);
            }
        }
        // The last round ends with adding the key: with adding key and data as well.
        let key = simd.broadcast(keys[14]);
        for (data, state) in data.iter_mut().zip(states) {
            *data = simd.aes_last(state, simd.xor(key, *data));
        }
    }

    /// Exclusive or of less than a vector and keystream.
    #[inline(always)]
    fn apply_part<S: Blocks<Vector = V>>(&mut self, simd: S, keys: &[u128; 15], data: &mut [u8]) -> V {
        let mut vector = [simd.load_part(data)];
        self.apply(simd, keys, &mut vector);
        simd.store_part(data, vector[0]);
        simd.keep(vector[0], data.len())
    }
}

/// The first `N` vectors of octets.
#[inline(always)]
fn load<S: Blocks, const N: usize>(simd: S, from: &[u8]) -> [S::Vector; N] {
    let mut vectors = [simd.zero(); N];
    for (i, vector) in vectors.iter_mut().enumerate() {
        *vector = simd.load(&from[i * S::OCTETS..][..S::OCTETS]);
    }
    vectors
}

/// Overwrites the first `N` vectors of octets.
#[inline(always)]
fn store<S: Blocks, const N: usize>(simd: S, to: &mut [u8], vectors: &[S::Vector; N]) {
    for (i, vector) in vectors.iter().enumerate() {
        simd.store(&mut to[i * S::OCTETS..][..S::OCTETS], *vector);
    }
}

/// Associated data, boiled down to a block that stands for all of it.
#[derive(Clone, Copy)]
struct Associated {
    /// The last block, with the hash of those before it.
    block: u128,
    /// Octets, padded to whole blocks.
    len: usize,
}

impl Associated {
    #[inline(always)]
    fn new(width: Width, keys: &Keys, data: &[u8]) -> Self {
        if let Some(block) = data.first_chunk()
            && data.len() == 16
        {
            return Self { block: u128::from_le_bytes(*block), len: 16 };
        }
        Self::of_any_length(width, keys, data)
    }

    /// What packets do not need: less or more than a block.
    #[cold]
    fn of_any_length(width: Width, keys: &Keys, data: &[u8]) -> Self {
        struct Absorb<'a>(&'a Keys, &'a [u8]);
        impl Job for Absorb<'_> {
            type Output = u128;
            #[inline(always)]
            fn run<S: Blocks, const GROUP: usize>(self, simd: S) -> u128 {
                let simd = simd.single();
                let mut block = 0u128;
                for (i, piece) in self.1.chunks(16).enumerate() {
                    if i > 0 {
                        let mut product = Product::new(simd);
                        let hash_key = simd.broadcast(self.0.powers[place(1)]);
                        product.add(simd, simd.broadcast(block.swap_bytes()), hash_key);
                        block = simd.fold(product.reduce(simd)).swap_bytes();
                    }
                    block ^= simd.fold(simd.load_part(piece));
                }
                block
            }
        }
        let block = width.single().run(Absorb(keys, data));
        Self { block, len: data.len().next_multiple_of(16) }
    }
}

/// A pass of GHASH over associated data and payload, which is decrypted first if there is a counter.
struct Pass<'a, S: Blocks> {
    simd: S,
    keys: &'a Keys,
    counter: Option<Counter<S::Vector>>,
}

impl<S: Blocks> Pass<'_, S> {
    /// Decrypts and hashes whole vectors: `N` of them, the first multiplied by the powers from `power` on.
    #[inline(always)]
    fn vectors<const N: usize>(&mut self, product: &mut Product<S::Vector>, data: &mut [u8], power: usize) {
        let simd = self.simd;
        let mut vectors = load::<S, N>(simd, data);
        if let Some(counter) = &mut self.counter {
            counter.apply(simd, &self.keys.k1, &mut vectors);
            store(simd, data, &vectors);
        }
        for (i, vector) in vectors.iter().enumerate() {
            let powers = simd.load_blocks(&self.keys.powers[place(power) + i * S::BLOCKS..]);
            product.add(simd, simd.reverse(*vector), powers);
        }
    }

    /// The hash, as the number that its octets are in big-endian order.
    #[inline(always)]
    fn hash<const GROUP: usize>(&mut self, associated: Associated, mut data: &mut [u8]) -> u128 {
        let (simd, keys) = (self.simd, self.keys);
        let bits = (associated.len + data.len()) as u128 * 8;
        let (group, group_blocks) = (GROUP * S::OCTETS, GROUP * S::BLOCKS);

        let mut product = Product::new(simd);
        let associated = simd.first(associated.block.swap_bytes());
        let mut lanes = None;
        while data.len() > group + (LAST - 1) * 16 {
            let (head, rest) = data.split_at_mut(group);
            data = rest;
            let mut vectors = load::<S, GROUP>(simd, head);
            if let Some(counter) = &mut self.counter {
                counter.apply(simd, &keys.k1, &mut vectors);
                store(simd, head, &vectors);
            }
            for vector in &mut vectors {
                *vector = simd.reverse(*vector);
            }
            match lanes {
                None => {
                    let power = simd.broadcast(keys.powers[place(group_blocks + 1)]);
                    product.add(simd, associated, power);
                }
                Some(lanes) => vectors[0] = simd.xor(vectors[0], lanes),
            }
            for (i, vector) in vectors.iter().enumerate() {
                let power = simd.broadcast(keys.powers[place(group_blocks - i * S::BLOCKS)]);
                product.add(simd, *vector, power);
            }
            lanes = Some(product.reduce(simd));
            product = Product::new(simd);
        }

        // The power of the first block that is left; the block of lengths has the first power.
        let mut power = data.len().div_ceil(16) + 1;
        match lanes {
            None => product.add(simd, associated, simd.broadcast(keys.powers[place(power + 1)])),
            Some(lanes) => product.add(simd, lanes, simd.load_blocks(&keys.powers[place(power)..])),
        }
        product.add(simd, simd.first(bits << 64), simd.broadcast(keys.powers[place(1)]));
        while data.len() >= 4 * S::OCTETS {
            let (head, rest) = data.split_at_mut(4 * S::OCTETS);
            self.vectors::<4>(&mut product, head, power);
            (data, power) = (rest, power - 4 * S::BLOCKS);
        }
        if data.len() >= 2 * S::OCTETS {
            let (head, rest) = data.split_at_mut(2 * S::OCTETS);
            self.vectors::<2>(&mut product, head, power);
            (data, power) = (rest, power - 2 * S::BLOCKS);
        }
        if data.len() >= S::OCTETS {
            let (head, rest) = data.split_at_mut(S::OCTETS);
            self.vectors::<1>(&mut product, head, power);
            (data, power) = (rest, power - S::BLOCKS);
        }
        if !data.is_empty() {
            let vector = match &mut self.counter {
                Some(counter) => counter.apply_part(simd, &keys.k1, data),
                None => simd.load_part(data),
            };
            // Zeros behind the last block meet powers that do not matter.
            product.add(simd, simd.reverse(vector), simd.load_blocks(&keys.powers[place(power)..]));
        }
        simd.fold(product.reduce(simd))
    }
}

/// The half-width tag, given the packet's random ID and the hash: octets as in memory.
#[inline(always)]
fn half_tag(simd: Sse, keys: &Keys, id: u64, hash: u128) -> u64 {
    // The nonce is the ID and four zeros, and the counter behind it is 1.
    let whitening = encrypt(simd, &keys.k0, u128::from(id) | 1 << 120);
    let tag = hash.swap_bytes() ^ whitening;
    tag as u64 ^ (tag >> 64) as u64
}

struct Seal<'a> {
    keys: &'a Keys,
    id: u64,
    associated: Associated,
    payload: &'a mut [u8],
}

impl Job for Seal<'_> {
    type Output = u128;

    #[inline(always)]
    fn run<S: Blocks, const GROUP: usize>(self, simd: S) -> u128 {
        let Self { keys, id, associated, payload } = self;
        let hash = Pass { simd, keys, counter: None }.hash::<GROUP>(associated, payload);
        let half = half_tag(simd.single(), keys, id, hash);
        let tag = encrypt(simd.single(), &keys.k1, u128::from(id) | u128::from(half) << 64);

        let mut counter = Counter::new(simd, tag);
        let mut data = payload;
        while data.len() >= GROUP * S::OCTETS {
            let (head, rest) = data.split_at_mut(GROUP * S::OCTETS);
            let mut vectors = load::<S, GROUP>(simd, head);
            counter.apply(simd, &keys.k1, &mut vectors);
            store(simd, head, &vectors);
            data = rest;
        }
        while data.len() >= 2 * S::OCTETS {
            let (head, rest) = data.split_at_mut(2 * S::OCTETS);
            let mut vectors = load::<S, 2>(simd, head);
            counter.apply(simd, &keys.k1, &mut vectors);
            store(simd, head, &vectors);
            data = rest;
        }
        if data.len() >= S::OCTETS {
            let (head, rest) = data.split_at_mut(S::OCTETS);
            let mut vectors = load::<S, 1>(simd, head);
            counter.apply(simd, &keys.k1, &mut vectors);
            store(simd, head, &vectors);
            data = rest;
        }
        if !data.is_empty() {
            counter.apply_part(simd, &keys.k1, data);
        }
        tag
    }
}

struct Open<'a> {
    keys: &'a Keys,
    tag: u128,
    associated: Associated,
    payload: &'a mut [u8],
}

impl Job for Open<'_> {
    type Output = Opened;

    #[inline(always)]
    fn run<S: Blocks, const GROUP: usize>(self, simd: S) -> Opened {
        let Self { keys, tag, associated, payload } = self;
        let opened = decrypt(simd.single(), &keys.k1_inverse, tag);
        let counter = Some(Counter::new(simd, tag));
        let hash = Pass { simd, keys, counter }.hash::<GROUP>(associated, payload);
        let difference = half_tag(simd.single(), keys, opened as u64, hash) ^ (opened >> 64) as u64;
        Opened { difference, id: (opened as u64).to_le_bytes() }
    }
}

impl Width {
    /// The token of single blocks.
    pub(super) fn single(self) -> Sse {
        match self {
            Self::Four(simd) => simd.single(),
            Self::Two(simd) => simd.single(),
            Self::One(simd) => simd,
        }
    }

    /// Encrypts `payload` in place and returns the tag.
    #[inline]
    pub(super) fn seal(self, keys: &Keys, id: &[u8; 8], associated: &[u8], payload: &mut [u8]) -> [u8; 16] {
        let (id, associated) = (u64::from_le_bytes(*id), Associated::new(self, keys, associated));
        let job = Seal { keys, id, associated, payload };
        match self {
            Self::Four(simd) => simd.run(job),
            Self::Two(simd) => simd.run(job),
            Self::One(simd) => simd.run(job),
        }
        .to_le_bytes()
    }

    /// Decrypts `payload` in place.
    #[inline]
    pub(super) fn open(self, keys: &Keys, tag: &[u8; 16], associated: &[u8], payload: &mut [u8]) -> Opened {
        let (tag, associated) = (u128::from_le_bytes(*tag), Associated::new(self, keys, associated));
        let job = Open { keys, tag, associated, payload };
        match self {
            Self::Four(simd) => simd.run(job),
            Self::Two(simd) => simd.run(job),
            Self::One(simd) => simd.run(job),
        }
    }
}
