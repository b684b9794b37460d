//! Random bits from the operating system, fetched in pages.

/// Gives out 128 bits at a time.
pub(crate) struct Random {
    page: [u8; 1024],
    used: usize,
}

impl Random {
    pub(crate) fn new() -> Self {
        Self { page: [0; 1024], used: 1024 }
    }

    /// The next 128 bits, never given out twice.
    ///
    /// A machine without randomness cannot keep a promise about sessions: the process ends.
    pub(crate) fn next(&mut self) -> u128 {
        if self.used == self.page.len() {
            if let Err(error) = getrandom::fill(&mut self.page) {
                tracing::error!(%error, "the operating system gives no random bits");
                std::process::abort();
            }
            self.used = 0;
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&self.page[self.used..self.used + 16]);
        self.page[self.used..self.used + 16].fill(0);
        self.used += 16;
        u128::from_be_bytes(bits)
    }
}
