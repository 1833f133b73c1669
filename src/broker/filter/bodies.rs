//! Cutting off bodies that are larger than any message of the contract.

#[derive(Debug)]
struct Cut {
    channel: u16,
    /// Bytes still to keep.
    keep: u64,
    /// Bytes still to receive.
    left: u64,
}

/// The bodies that are being cut off, at most one for each channel.
#[derive(Debug)]
pub(super) struct Bodies {
    largest: u64,
    cut: Vec<Cut>,
}

impl Bodies {
    /// Bodies keep at most `largest` bytes.
    pub(super) fn up_to(largest: usize) -> Self {
        Self {
            largest: u64::try_from(largest).unwrap_or(u64::MAX),
            cut: Vec::new(),
        }
    }

    /// Records that a message follows with a body of `size` bytes. Returns the size to announce
    /// instead, if the body is too large.
    pub(super) fn begin(&mut self, channel: u16, size: u64) -> Option<u64> {
        self.cut.retain(|cut| cut.channel != channel);
        if size <= self.largest {
            return None;
        }
        self.cut.push(Cut {
            channel,
            keep: self.largest,
            left: size,
        });
        Some(self.largest)
    }

    /// Returns how many bytes to keep of a part with `size` bytes.
    pub(super) fn keep(&mut self, channel: u16, size: usize) -> usize {
        let Some(at) = self.cut.iter().position(|cut| cut.channel == channel) else {
            return size;
        };
        let (cut, all) = (&mut self.cut[at], u64::try_from(size).unwrap_or(u64::MAX));
        let kept = cut.keep.min(all);
        cut.keep -= kept;
        cut.left = cut.left.saturating_sub(all);
        if cut.left == 0 {
            self.cut.swap_remove(at);
        }
        usize::try_from(kept).unwrap_or(size)
    }
}
