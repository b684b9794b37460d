//! The one source of chance: SplitMix64 (Steele, Lea and Flood, 2014).

/// Numbers that look random and follow from a seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give similar runs.
        let mut rng = Self(seed ^ 0x6361_7269_6c6c_6f6e);
        rng.0 = rng.bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.rotate_left(17);
        rng
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 128 bits.
    pub fn wide(&mut self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// A number below `end`; zero if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.bits() % end }
    }

    /// A number from `range.0` to `range.1`, both included.
    pub fn within(&mut self, range: (u64, u64)) -> u64 {
        range.0 + self.below(range.1.saturating_sub(range.0) + 1)
    }

    /// Whether something happens that happens in so many cases of a thousand.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len() as u64) as usize).copied()
    }

    /// About `mean`, between a tenth and three times it: a spread like that of waiting times.
    pub fn about(&mut self, mean: u64) -> u64 {
        let (a, b) = (self.below(mean), self.below(mean));
        mean / 10 + a + b * self.below(2)
    }
}
